"""Images of virtual machines: a kernel and an initramfs, built once and kept under the digest of all that is in them.

``guest`` is what the lab protects; ``suricata-ips`` and ``bridge-null`` are appliances. Nothing is downloaded but
Debian's kernel package: the programs are those installed on this machine.

Whoever only runs an image calls ``find_image``, which neither builds nor asks the network.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from outrider.appliances import bridge, suricata
from outrider.appliances.debian import ImageError
from outrider.appliances.initramfs import BuildFailed, Tree, modules_in_order
from outrider.appliances.kernels import Kernel, fetch_release_kernel

GUEST = "guest"
BASE_MODULES = ("virtio_pci", "virtio_net", "virtio_console")
MODULES = {GUEST: BASE_MODULES, suricata.IMAGE: BASE_MODULES, bridge.IMAGE: (*BASE_MODULES, "bridge")}
IMAGE_NAMES = tuple(MODULES)
BUSYBOX = Path("/bin/busybox")
_INSIDE = "/run/outrider"

# Quick under emulation, and silent: a serial console costs a trap for every character.
KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=3 panic=-1 nowatchdog mitigations=off random.trust_cpu=on audit=0 "
    "tsc=reliable no_timer_check rcupdate.rcu_expedited=1"
)


class ImageMissing(ImageError):
    """An image has not been built on this server; the message says what to run."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a VM boots. ``options`` go on the kernel's command line, before what the user of the image adds."""

    name: str
    kernel: Path
    initrd: Path
    digest: str
    options: str = KERNEL_OPTIONS


def find_image(name: str, cache: Path) -> Image:
    """The image ``name`` as it was last built in ``cache``; raises ``ImageMissing``."""
    folder = cache / "images" / name / "current"
    try:
        digest = folder.readlink().name
    except OSError:
        raise ImageMissing(f"image {name} is not built on this server: run 'outrider image build {name}'") from None
    home = folder.with_name(digest)
    return Image(name, home / "vmlinuz", home / "initrd.img", digest)


def build_image(name: str, cache: Path) -> Image:
    """Build the image ``name`` unless one of the same content is there; return it.

    Raises ``BuildFailed`` (unknown name, a program missing) and ``PackagesUnavailable`` (no kernel to be had).
    """
    if name not in MODULES:
        raise BuildFailed(f"there is no image {name!r} (there are: {', '.join(IMAGE_NAMES)})")
    kernel = fetch_release_kernel(cache)
    tree = _tree(name, kernel)
    digest = tree.digest()
    home = cache / "images" / name / digest
    if not (home / "initrd.img").exists():
        _write(home, kernel, tree)
    _point(home.with_name("current"), digest)
    _drop_former(home)
    return find_image(name, cache)


def build_initramfs(kernel: Kernel, modules: Sequence[str], init: str, to: Path) -> None:
    """An initramfs for tests: busybox, ``modules``, and the shell script ``init`` after the common beginning."""
    _write_archive(_base_tree(kernel, modules, init), to)


def _tree(name: str, kernel: Kernel) -> Tree:
    tree = _base_tree(kernel, MODULES[name], _own_text(f"{name}.init.sh"))
    if name == suricata.IMAGE:
        _add_suricata(tree)
    return tree


def _base_tree(kernel: Kernel, modules: Sequence[str], init: str) -> Tree:
    tree = Tree()
    tree.add_copy(BUSYBOX.resolve(), "bin/busybox")
    tree.add("init", f"#!/bin/busybox sh\n{_own_text('common.init.sh')}\n{init}".encode(), program=True)
    tree.add("etc/kernel", kernel.package.encode())
    loaded = modules_in_order(kernel.modules, modules)
    for file, content in loaded:
        tree.add(f"modules/{file}", content)
    tree.add("modules/order", "".join(f"{file}\n" for file, _ in loaded).encode())
    return tree


def _add_suricata(tree: Tree) -> None:
    tree.add_program(Path("/usr/bin/suricata"))
    for file in ("classification.config", "reference.config"):
        tree.add_copy(suricata.ETC / file)
    text = suricata.configuration(_INSIDE, str(suricata.ETC), f"{_INSIDE}/suricata.sock", threads="1")
    tree.add("etc/outrider/suricata.yaml", text.encode())
    tree.add("run/outrider/threshold.config", b"")
    tree.add("bin/outrider-inside", _compiled(_own_text("agent.c")), program=True)


def _compiled(source: str) -> bytes:
    """The static program of ``source`` (C)."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program"
        command = ["gcc", "-static", "-Os", "-Wall", "-Werror", "-s", "-Wl,--build-id=none", "-x", "c", "-", "-o"]
        try:
            done = subprocess.run([*command, program], input=source, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise BuildFailed("gcc is not on this machine: run './run setup'") from error
        if done.returncode:
            raise BuildFailed(f"the program inside the appliance does not compile: {done.stderr.strip()}")
        return program.read_bytes()


def _own_text(file: str) -> str:
    return resources.files("outrider.appliances").joinpath(f"inside/{file}").read_text()


def _write(home: Path, kernel: Kernel, tree: Tree) -> None:
    home.mkdir(parents=True, exist_ok=True)
    _replace(home / "vmlinuz", lambda path: path.write_bytes(kernel.image.read_bytes()))
    _replace(home / "initrd.img", lambda path: _write_archive(tree, path))


def _write_archive(tree: Tree, to: Path) -> None:
    with to.open("wb") as file:
        file.writelines(tree.archive())


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    write(fresh)
    fresh.replace(path)


def _drop_former(home: Path) -> None:
    """Only the newest content is kept; a running VM has read its files long since."""
    for other in home.parent.iterdir():
        if other.is_dir() and not other.is_symlink() and other.name != home.name:
            shutil.rmtree(other)


def _point(link: Path, digest: str) -> None:
    fresh = link.with_name(f".current.{os.getpid()}")
    fresh.symlink_to(digest)
    fresh.replace(link)


def main(arguments: Sequence[str]) -> int:
    """``CACHE IMAGE…``: build each and say how long it took."""
    cache, *names = arguments
    for name in names:
        started = time.monotonic()
        try:
            image = build_image(name, Path(cache))
        except ImageError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{name}: {image.digest} in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
