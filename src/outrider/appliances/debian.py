"""Packages of suites this machine is not set up for, without changing what it is set up for.

Images need a kernel (sometimes of an older or a newer Debian), and the engine comes from backports where main has
none. Adding a line to the machine's apt sources would be the operator's files changed (invariant I6), so a private
list directory stands beside them: same mirror, same keyring, more suites.

Run as a program (``python3 -m outrider.appliances.debian install PACKAGE…``) it is what the set-up script uses, so
this module needs nothing but the standard library.
"""

import contextlib
import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LISTS_FRESH_S = 24 * 3600.0
OLDER_SUITE = "bookworm"  # the oldest release whose kernel is tested (6.1: no tcx)


class ImageError(Exception):
    """What stands between a user and an image, in one sentence; the subclasses say which kind of thing."""


class PackagesUnavailable(ImageError):
    """apt cannot give what was asked; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Release:
    """This machine's Debian release and the mirror its own apt sources name."""

    codename: str
    mirror: str


def observe_release() -> Release:
    """Read the release and its mirror.

    Raises ``PackagesUnavailable`` on another distribution, or when no source names the release.
    """
    codename = _codename()
    fields = "$(REPO_URI) $(RELEASE) $(CODENAME) $(SUITE)"  # before the first update only RELEASE is known
    listing = _apt("apt-get", "indextargets", "--format", fields, "Created-By: Packages")
    for line in listing.splitlines():
        uri, *suites = line.split()
        if codename in suites:
            return Release(codename, uri)
    raise PackagesUnavailable(f"no apt source of this machine names {codename}: add Debian's main archive to it")


def _codename() -> str:
    fields = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if fields.get("ID", "").strip('"') != "debian" or "VERSION_CODENAME" not in fields:
        raise PackagesUnavailable("this is not a Debian release: install the packages and kernels by hand")
    return fields["VERSION_CODENAME"].strip('"')


def _apt(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PackagesUnavailable(f"{command[0]} is not on this machine") from error
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip().splitlines()
        raise PackagesUnavailable(f"{' '.join(command[:2])}: {complaint[-1] if complaint else 'failed'}")
    return done.stdout


class PrivateApt:
    """apt with lists of its own under ``directory``, and this machine's mirror with more suites."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _options(self) -> list[str]:
        here = self._directory
        return [
            "-o", f"Dir::Etc::sourcelist={here / 'sources.list'}",
            "-o", f"Dir::Etc::sourceparts={here / 'sources.d'}",
            "-o", f"Dir::State::lists={here / 'lists'}",
            "-o", f"Dir::Cache={here / 'cache'}",
            "-o", "APT::Sandbox::User=root",
        ]  # fmt: skip

    def refresh(self) -> None:
        """Fetch the lists unless they are younger than a day."""
        stamp = self._directory / "refreshed"
        with contextlib.suppress(FileNotFoundError):
            if time.time() - stamp.stat().st_mtime < LISTS_FRESH_S:
                return
        release = observe_release()
        for part in ("sources.d", "lists/partial", "cache/archives/partial"):
            (self._directory / part).mkdir(parents=True, exist_ok=True)
        (self._directory / "sources.list").write_text("")
        (self._directory / "sources.d" / "outrider.sources").write_text(_sources_text(release))
        _apt("apt-get", *self._options(), "-qq", "update")
        stamp.touch()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time: apt's own lock makes a second one fail instead of wait."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def newest(self, prefix: str, suffix: str) -> str:
        """The newest package named ``prefix``…``suffix``; raises ``PackagesUnavailable`` when there is none."""
        listing = _apt("apt-cache", *self._options(), "pkgnames", prefix)
        names = [name for name in listing.split() if name.endswith(suffix)]
        if not names:
            raise PackagesUnavailable(f"the mirror has no package {prefix}…{suffix}")
        return max(names, key=_by_version)

    def download(self, package: str, folder: Path) -> Path:
        """Fetch ``package`` into ``folder`` without installing it; return the ``.deb``."""
        folder.mkdir(parents=True, exist_ok=True)
        command = ["apt-get", *self._options(), "-qq", "download", package]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        found = sorted(folder.glob(f"{package}_*.deb"))
        if done.returncode or not found:
            raise PackagesUnavailable(f"{package} cannot be fetched: {done.stderr.strip() or 'nothing arrived'}")
        return found[-1]

    def install(self, packages: Sequence[str]) -> None:
        """Install ``packages`` on this machine, from backports where they are newer there."""
        target = f"{_codename()}-backports"
        options = [*self._options(), "-qq", "-y", "--no-install-recommends", "-t", target]
        _apt("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *options, "install", *packages)


def _sources_text(release: Release) -> str:
    suites = dict.fromkeys((release.codename, f"{release.codename}-backports", OLDER_SUITE, f"{OLDER_SUITE}-backports"))
    return f"Types: deb\nURIs: {release.mirror}\nSuites: {' '.join(suites)}\nComponents: main\nSigned-By: {KEYRING}\n"


def _by_version(name: str) -> list[int]:
    digits = "".join(c if c.isdigit() else " " for c in name)
    return [int(part) for part in digits.split()]


def main(arguments: Sequence[str]) -> int:
    """``CACHE install PACKAGE…``: the set-up script's way to a package of backports."""
    cache, verb, *packages = arguments
    apt = PrivateApt(Path(cache) / "apt")
    try:
        with apt.locked():
            apt.refresh()
            if verb == "install":
                apt.install(packages)
    except PackagesUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
