"""The program that the machine under test runs: every scenario that its kernel is for, one JSON line each."""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from kernels.inside.plays import Scenario, World
from kernels.inside.scenarios import scenarios_for


def _told(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def _play(scenario: Scenario, world: World) -> dict[str, Any]:
    started = time.monotonic()
    outcome: dict[str, Any]
    try:
        outcome = {"passed": True, "facts": scenario.play(world)}
    except Exception:
        outcome = {"passed": False, "failure": traceback.format_exc()}
    return {"scenario": scenario.name, **outcome, "seconds": round(time.monotonic() - started, 3)}


def _uptime() -> float:
    """Seconds since the kernel began."""
    return float(Path("/proc/uptime").read_text().split()[0])


def main(hooks: str) -> None:
    """Play what belongs to ``hooks``, the kind of hooks that this kernel is expected to have."""
    started = _uptime()
    _told({"machine": "up", "kernel": os.uname().release, "uptime_s": started})
    world = World(hooks)
    _told({"machine": "built", "seconds": round(_uptime() - started, 3)})
    for scenario in scenarios_for(hooks):
        _told(_play(scenario, world))
    _told({"machine": "done", "uptime_s": _uptime()})


if __name__ == "__main__":
    main(sys.argv[1])
