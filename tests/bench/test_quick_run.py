"""A short run on real parts: the JSON that others read, and nothing left on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from outrider.lab.bench.bed import Bed
from outrider.lab.paths import LabError
from outrider.lab.remains import left_behind_of

pytestmark = pytest.mark.system

MACHINE = {"cpu": str, "cores": int, "kernel": str, "accelerator": str, "busy_percent": float}
FIGURE = {"name": str, "unit": str, "n": int, "p50": float, "p99": float, "value": float, "conditions": dict}


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "outrider.cli.main", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_quick_run_writes_the_agreed_shape_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = run_bench("frames_before_arming", "rtt_added_us", "--quick", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(file.read_text())
    assert set(told) == {"machine", "commit", "figures"}
    assert {key: type(value) for key, value in told["machine"].items()} == MACHINE
    for figure in told["figures"]:
        assert {key: type(value) for key, value in figure.items()} == FIGURE
        assert 0 <= figure["p50"] <= figure["p99"]
        assert figure["name"] in done.stdout
    by_name = {(figure["name"], figure["conditions"].get("path")): figure for figure in told["figures"]}
    assert set(by_name) == {("frames_before_arming", None), ("rtt_added_us", "local"), ("rtt_added_us", "remote")}
    assert by_name["frames_before_arming", None]["value"] == 0
    for paths in (Bed().paths, Bed().lab().paths):
        assert left_behind_of(paths) == []


def test_two_benches_do_not_measure_each_other() -> None:
    with Bed("bench-test"), pytest.raises(LabError, match="another bench"), Bed("bench-test"):
        pass


def test_a_bed_sweeps_what_a_killed_run_left() -> None:
    first = Bed("bench-test")
    with first:
        first.namespace("orphan")
    with Bed("bench-test") as left:
        holder = left.namespace("orphan")
        # as if killed: the next one finds a process and a folder that nobody answers for
        left._lock.close()
        with Bed("bench-test"):
            assert not Path(f"/proc/{holder.pid}/ns/net").exists()
    assert left_behind_of(first.paths) == []
