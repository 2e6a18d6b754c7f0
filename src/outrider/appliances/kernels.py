"""Debian's cloud kernels, fetched without being installed: what our virtual machines boot."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from outrider.appliances.debian import PrivateApt, observe_release

RELEASE_KERNEL = {"bookworm": "6.1", "trixie": "6.12"}
_NEWEST_KNOWN = "6.12"


@dataclass(frozen=True, slots=True)
class Kernel:
    """One unpacked kernel package: ``image`` boots, ``modules`` is its ``lib/modules/VERSION``."""

    package: str
    image: Path
    modules: Path


def fetch_kernel(branch: str, cache: Path) -> Kernel:
    """Debian's newest cloud kernel of ``branch`` ("6.1", "6.12"), kept in ``cache`` from the first time on.

    Raises ``PackagesUnavailable`` when the mirror has none.
    """
    kept = cache / "kernels" / branch
    if not kept.exists():
        apt = PrivateApt(cache / "apt")
        with apt.locked():
            if not kept.exists():
                _fetch(apt, branch, kept)
    return _kernel_in(kept)


def fetch_release_kernel(cache: Path) -> Kernel:
    """The kernel of this machine's own Debian release."""
    codename = observe_release().codename
    return fetch_kernel(RELEASE_KERNEL.get(codename, _NEWEST_KNOWN), cache)


def _fetch(apt: PrivateApt, branch: str, kept: Path) -> None:
    apt.refresh()
    package = apt.newest(f"linux-image-{branch}.", "-cloud-amd64")
    work = kept.with_name(f".{branch}.fetching")
    shutil.rmtree(work, ignore_errors=True)
    archive = apt.download(package, work)
    subprocess.run(["dpkg", "-x", str(archive), str(work)], check=True, capture_output=True)
    archive.unlink()
    (work / "package").write_text(archive.stem)
    work.rename(kept)


def _kernel_in(kept: Path) -> Kernel:
    (image,) = (kept / "boot").glob("vmlinuz-*")
    modules_root = kept / "lib" / "modules"
    if not modules_root.exists():
        modules_root = kept / "usr" / "lib" / "modules"
    (modules,) = modules_root.iterdir()
    return Kernel((kept / "package").read_text(), image, modules)
