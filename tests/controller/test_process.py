"""The controller as a process: who may speak to it, and how it ends."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "controller.sock"


def start(tmp_path: Path, socket: Path) -> "subprocess.Popen[str]":
    words = ["controller", "--state-dir", str(tmp_path / "state"), "--socket", str(socket)]
    process = subprocess.Popen([sys.executable, "-m", "outrider.cli.main", *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not socket.is_socket():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_only_its_owner_may_reach_the_api(tmp_path: Path, socket: Path):
    former = os.umask(0)  # as careless as an environment can be
    try:
        process = start(tmp_path, socket)
    finally:
        os.umask(former)
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "Traceback" not in process.stderr.read()
    assert not socket.exists(), "nothing is left"


def test_a_controller_takes_the_place_of_one_that_was_killed(tmp_path: Path, socket: Path):
    first = start(tmp_path, socket)
    first.kill()
    first.wait(20)
    first.stderr.close()
    assert socket.is_socket(), "a killed process leaves its socket"
    second = start(tmp_path, socket)
    deadline = time.monotonic() + 20
    command = [sys.executable, "-m", "outrider.cli.main", "get", "servers", "--server", f"unix:{socket}"]
    while (asked := subprocess.run(command, capture_output=True, text=True, check=False)).returncode != 0:
        assert time.monotonic() < deadline, asked.stderr
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 0
    second.stderr.close()
