"""Labs for tests: a name of their own, taken down whatever happens, and nothing left behind."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.guest_image import CACHE, guest_image
from outrider.lab.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab that is not up yet."""
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    lab = Lab(f"t{os.getpid()}", cache=CACHE, images=guest_image)
    lab.down()
    yield lab
    lab.down()
    assert lab.left_behind() == []


@pytest.fixture
def second_lab() -> Iterator[Lab]:
    """Another lab beside the first, in a directory of its own."""
    lab = Lab(f"u{os.getpid()}", run_root=Path("/run/outrider/other"), cache=CACHE, images=guest_image)
    yield lab
    lab.down()
    assert lab.left_behind() == []
    Path("/run/outrider/other").rmdir()


@pytest.fixture
def vm_lab(lab: Lab) -> Lab:
    """The lab, where libvirt and QEMU are there for VMs."""
    for program in ("libvirtd", "qemu-system-x86_64"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            pytest.skip(f"{program} is not installed")
    guest_image()
    return lab
