"""The demo as a user runs it: it proves what it claims, and leaves nothing, also when interrupted."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outrider.lab.lab import Lab, left_behind

pytestmark = pytest.mark.system

LAB = "orddemo"
ANY_DEMO = [sys.executable, "-m", "outrider.cli.main", "demo", "--lab", LAB, "--seconds", "2"]
DEMO = [*ANY_DEMO, "--format", "container"]


@pytest.mark.parametrize("format", ["container", pytest.param("vm", marks=pytest.mark.vm)])
def test_a_guests_inspection_moves_with_it_and_no_packet_is_uninspected(tmp_path: Path, format: str) -> None:
    written, report = tmp_path / "demo.json", tmp_path / "demo.html"
    command = [*ANY_DEMO, "--format", format, "--json", str(written), "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(written.read_text())

    phases = {phase["name"]: phase for phase in result["phases"]}
    first = result["moves"][0]
    assert list(phases) == ["before", "interim", "after"]
    assert all(phase["attack_blocked"] for phase in phases.values())
    assert result["uninspected_total"] == 0
    assert first["interim_appliance"] in phases["interim"]["inspected_by"]
    assert set(phases["after"]["inspected_by"]) == {first["final_appliance"]}
    assert first["arrival_seen"] <= first["guest_running"] < first["appliance_ready"] <= first["switched"]
    assert result["second_guest"]["appliances_created"] == 0
    assert result["left_behind"] == left_behind(LAB) == []
    assert "went uninspected" in report.read_text()


def test_an_interrupted_demo_takes_everything_down() -> None:
    demo = subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    try:
        for line in demo.stdout:
            if "attacks them" in line:
                break
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 130
    assert left_behind(LAB) == []


def test_what_a_killed_demo_left_is_swept_by_lab_down() -> None:
    demo = subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    try:
        for line in demo.stdout:
            if "attacks them" in line:
                break
    finally:
        demo.kill()
        demo.wait()
    assert left_behind(LAB) != []
    Lab(LAB).down()
    deadline = time.monotonic() + 10
    while left_behind(LAB) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_behind(LAB) == []


def test_a_demo_refuses_a_lab_that_is_up_and_leaves_it_alone() -> None:
    lab = Lab(LAB)
    lab.up(("s1",), libvirt=False)
    try:
        done = subprocess.run(DEMO, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert f"lab '{LAB}' is up" in done.stderr
        assert list(lab.status().servers) == ["s1"]
    finally:
        lab.down()
