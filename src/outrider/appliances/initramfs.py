"""The file system a small VM boots from: a newc archive made of files of this server and of ours.

Written here rather than by ``cpio`` so that the same inputs give the same bytes, whoever builds it and when.
Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import hashlib
import lzma
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from outrider.appliances.debian import ImageError

_DIRECTORY = 0o040755
_FILE = 0o100644
_PROGRAM = 0o100755
_LIBRARY_LINE = re.compile(r"(?:=> )?(/\S+) \(0x")


class BuildFailed(ImageError):
    """An image cannot be built on this machine; the message says what is missing."""


@dataclass(slots=True)
class Tree:
    """Files by their path in the image (without the leading '/')."""

    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def add(self, path: str, content: bytes, program: bool = False) -> None:
        """Put a file of ours there."""
        self.files[path.lstrip("/")] = (_PROGRAM if program else _FILE, content)

    def add_copy(self, source: Path, path: str | None = None) -> None:
        """Put a file of this machine there, by default under its own path; raises ``BuildFailed``."""
        try:
            content = source.read_bytes()
        except OSError as error:
            raise BuildFailed(f"{source} cannot be read: run './run setup' ({error.strerror})") from error
        self.add(path or str(source), content, program=bool(source.stat().st_mode & 0o100))

    def add_program(self, program: Path) -> None:
        """Put a dynamically linked program there, with every library it loads."""
        self.add_copy(program)
        for library in _libraries(program):
            self.add_copy(library)

    def digest(self) -> str:
        """16 hex digits over every path, mode and content."""
        summary = hashlib.sha256()
        for path, (mode, content) in sorted(self.files.items()):
            summary.update(f"{path} {mode:o} {hashlib.sha256(content).hexdigest()}\n".encode())
        return summary.hexdigest()[:16]

    def archive(self) -> Iterator[bytes]:
        """The archive, piece by piece."""
        number = 1
        for directory in sorted(_parents(self.files)):
            yield _entry(directory, _DIRECTORY, b"", number)
            number += 1
        for path, (mode, content) in sorted(self.files.items()):
            yield _entry(path, mode, content, number)
            number += 1
        yield _entry("TRAILER!!!", 0, b"", 0)


def _parents(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        found.update(str(parent) for parent in Path(path).parents if str(parent) != ".")
    return found


def _entry(path: str, mode: int, content: bytes, number: int) -> bytes:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    return _padded(header + name) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _libraries(program: Path) -> list[Path]:
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    if done.returncode or "not found" in done.stdout:
        raise BuildFailed(f"the libraries of {program} cannot be listed: {(done.stderr or done.stdout).strip()}")
    return [Path(path) for path in _LIBRARY_LINE.findall(done.stdout)]


def modules_in_order(kernel_modules: Path, wanted: Iterable[str]) -> list[tuple[str, bytes]]:
    """(file name, content) of the modules named, each after those it needs; built-in ones are left out.

    ``kernel_modules`` is the package's ``lib/modules/VERSION``. Packages carry no ``modules.dep`` (it is made on
    installation), so the modules' own ``depends=`` fields are read. Raises ``BuildFailed`` for a module that is
    neither there nor built in.
    """
    found = {_module_name(path): path for path in kernel_modules.rglob("*.ko*")}
    builtin = {_module_name(Path(line)) for line in (kernel_modules / "modules.builtin").read_text().split()}
    ordered: dict[str, bytes] = {}

    def visit(name: str) -> None:
        if name in ordered or (name in builtin and name not in found):
            return
        if name not in found:
            raise BuildFailed(f"the kernel package has no module {name}")
        content = _module_bytes(found[name])
        for needed in _depends(content):
            visit(needed)
        ordered[name] = content

    for name in wanted:
        visit(name)
    return [(f"{name}.ko", content) for name, content in ordered.items()]


def _module_name(path: Path) -> str:
    return path.name.split(".")[0].replace("-", "_")


def _module_bytes(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def _depends(content: bytes) -> list[str]:
    field_ = re.search(rb"\0depends=([^\0]*)\0", content)
    return [name.replace("-", "_") for name in field_[1].decode().split(",") if name] if field_ else []
