"""Compiles the programs, once for each content: clang is needed to build Outrider, not to run it."""

import hashlib
import os
import platform
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "bpf"
_MAIN = "wire.bpf.c"
_FLAGS = ("-g", "-O2", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3")


class BuildFailed(Exception):
    """The programs could not be compiled; the message says what clang said."""


def build_programs(cache_dir: Path, main: Path = SOURCES / _MAIN) -> Path:
    """The compiled object of ``main`` and its folder, built into ``cache_dir`` unless it is there already.

    The file's name carries the digest of sources and flags. Raises ``BuildFailed``.
    """
    target = cache_dir / f"{main.name.partition('.')[0]}-{_digest(main.parent)}.bpf.o"
    if target.exists():
        return target
    cache_dir.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(f".{os.getpid()}")
    _compile(main, scratch)
    scratch.replace(target)
    return target


def _digest(folder: Path) -> str:
    content = hashlib.sha256(" ".join(_FLAGS).encode())
    for source in sorted(folder.glob("*.[ch]")):
        content.update(source.name.encode() + b"\0" + source.read_bytes())
    return content.hexdigest()[:16]


def _compile(main: Path, target: Path) -> None:
    # Debian keeps asm/types.h under the machine's own triplet, which clang does not search for the bpf target.
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    command = ["clang", *_FLAGS, headers, f"-I{SOURCES}", "-c", str(main), "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(f"the steering programs cannot be compiled: {error}") from error
    if done.returncode:
        target.unlink(missing_ok=True)
        raise BuildFailed(f"the steering programs cannot be compiled: {done.stderr.strip()}")
