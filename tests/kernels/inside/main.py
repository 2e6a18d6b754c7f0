"""The program that the machine under test runs: every scenario that its kernel is for, one JSON line each."""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from kernels.inside.plays import Scenario
from kernels.inside.scenarios import scenarios_for


def _told(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def _play(scenario: Scenario, hooks: str) -> dict[str, Any]:
    started = time.monotonic()
    outcome: dict[str, Any]
    try:
        outcome = {"passed": True, "facts": scenario.play(hooks)}
    except Exception:
        outcome = {"passed": False, "failure": traceback.format_exc()}
    return {"scenario": scenario.name, **outcome, "seconds": round(time.monotonic() - started, 3)}


def main(hooks: str) -> None:
    """Play what belongs to ``hooks``, the kind of hooks that this kernel is expected to have."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    _told({"machine": "up", "kernel": os.uname().release, "uptime_s": uptime})
    for scenario in scenarios_for(hooks):
        _told(_play(scenario, hooks))
    _told({"machine": "done"})


if __name__ == "__main__":
    main(sys.argv[1])
