"""What figures were measured on, and how much else was going on there.

A figure without its machine is a number. On a machine that does other work it is not even that: so the share of
processor time that others took is looked at before each rig, while the bench itself does nothing, and shown beside.
"""

import os
import platform
import subprocess
import time
from pathlib import Path

from outrider.appliances.accelerator import observe_accelerator

BUSY_FROM_PERCENT = 10.0
_LOOK_S = 0.4


def describe_host() -> dict[str, object]:
    """Processor, number of cores usable, kernel, and what VMs run with."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "accelerator": observe_accelerator().accelerator.value,
    }


def describe_commit() -> str:
    """The commit of this checkout, with ``-dirty`` when it has other changes; ``unknown`` outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def observe_busy_percent(look_s: float = _LOOK_S) -> float:
    """How much of all cores others use, in percent, looked at for ``look_s`` seconds in which the caller does nothing.

    Time stolen by the machine below this one counts too: it is missing all the same.
    """
    idle_before, all_before = _idle_and_all()
    time.sleep(look_s)
    idle, everything = _idle_and_all()
    spent = everything - all_before
    return 100.0 * (1 - (idle - idle_before) / spent) if spent else 0.0


def _idle_and_all() -> tuple[int, int]:
    """Clock ticks since boot, from ``/proc/stat`` (proc(5)): idle and waiting, and everything."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
