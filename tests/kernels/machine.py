"""One boot of a kernel: from an initramfs to the lines that the program inside wrote, then off.

The kernel's own words go to the first serial port, the results to the second, so that a warning in the middle of a
line cannot spoil a result. Emulated (TCG) always: what is asked here is what a kernel does, not how fast. One CPU: two
kernels at a time on a two-core machine leave nothing to gain by more.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outrider.appliances.images import KERNEL_OPTIONS

MEMORY_MIB = 384
# QEMU 7.2 spoils the flags after cmpxchg16b now and then, and a 6.12 kernel, whose allocator lives on that instruction,
# dies of it in 4 boots of 10 (double fault in kmem_cache_alloc). Without the instruction it goes another way: 0 of 20.
_CPU = "max,cx16=off"
_KERNEL_LINE = f"{KERNEL_OPTIONS} oops=panic"


@dataclass(frozen=True, slots=True)
class Boot:
    """What one boot gave: the results line by line, the console's text, seconds from start to power-off."""

    results: tuple[dict[str, Any], ...]
    console: str
    seconds: float

    def result(self, kind: str, name: str) -> dict[str, Any] | None:
        """The line that has ``name`` under ``kind``; None when it was never written."""
        return next((line for line in self.results if line.get(kind) == name), None)


def boot(image: Path, initramfs: Path, folder: Path, deadline_s: float) -> Boot:
    """Boot ``image`` and wait until it powers itself off; at the deadline it is killed, and what it wrote is kept."""
    console, results = folder / "console", folder / "results"
    command = [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", _CPU, "-smp", "1",
        "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(image), "-initrd", str(initramfs), "-append", _KERNEL_LINE,
        "-serial", f"file:{console}", "-serial", f"file:{results}",
    ]  # fmt: skip
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as vm:
        try:
            _, complaint = vm.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            vm.kill()
            complaint = b"the deadline passed"
    text = console.read_text(errors="replace") if console.exists() else ""
    lines = results.read_text(errors="replace") if results.exists() else ""
    return Boot(tuple(_parsed(lines)), text + complaint.decode(errors="replace"), time.monotonic() - started)


def _parsed(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # a line cut off by the end of the machine: its result is missing, which its test will say
        if isinstance(value, dict):
            yield value
