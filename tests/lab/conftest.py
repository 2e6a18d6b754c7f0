"""Labs for tests: a name of their own, taken down whatever happens, and nothing left behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from outrider.lab.lab import Lab


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab that is not up yet."""
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    lab = Lab(f"orc-{os.getpid()}")
    lab.down()
    yield lab
    lab.down()
    assert lab.left_behind() == []


@pytest.fixture
def second_lab() -> Iterator[Lab]:
    """Another lab beside the first, in a directory of its own."""
    lab = Lab(f"orc2-{os.getpid()}", run_root=Path("/run/outrider/other"))
    yield lab
    lab.down()
    assert lab.left_behind() == []
