"""``outrider lab …`` as a shell script uses it: words, exit codes, one sentence on standard error."""

import json
import subprocess
import sys

import pytest

from outrider.lab.lab import Lab

pytestmark = pytest.mark.system


def outrider(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """One command about the test's lab, from a directory that has nothing to do with it."""
    command = [sys.executable, "-m", "outrider.cli.main", "lab", words[0], "--lab", lab.paths.name, *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def done(lab: Lab, *words: str) -> str:
    result = outrider(lab, *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_lab_is_used_from_a_shell(lab: Lab) -> None:
    assert "servers s1, s2" in done(lab, "up", "--servers", "2", "--no-libvirt", "--no-outrider")
    done(lab, "run", "web", "--server", "s1", "--format", "container", "--ip", "10.10.0.11", "--label", "tier=web")
    done(lab, "client", "c", "--ip", "10.10.0.1")
    assert "1 packets received" in done(lab, "exec", "c", "--", "busybox", "ping", "-c1", "-W2", "10.10.0.11")
    assert outrider(lab, "exec", "web", "--", "sh", "-c", "exit 7").returncode == 7
    assert done(lab, "migrate", "web", "s2") == "web runs on s2\n"
    said = json.loads(done(lab, "status", "-o", "json"))
    assert said["guests"]["web"]["server"] == "s2" and said["guests"]["web"]["labels"] == {"tier": "web"}
    assert "container on s2 tier=web" in done(lab, "status")
    done(lab, "stop", "web")
    done(lab, "down")
    done(lab, "down")
    assert lab.left_behind() == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("status",), 1, "there is no lab named"),
        (("run", "a", "--server", "s1", "--ip", "10.0.0.1", "--label", "tier"), 2, "--label tier: write KEY=VALUE"),
        (("up", "--servers", "0"), 1, "between 1 and"),
        (("run", "a", "--server", "s1", "--ip", "10.0.0.1", "--format", "pod"), 2, "pod"),
    ],
)
def test_bad_input_ends_with_a_code_and_a_sentence(lab: Lab, words: tuple[str, ...], code: int, sentence: str) -> None:
    result = outrider(lab, *words)
    assert result.returncode == code
    assert sentence in result.stderr and "Traceback" not in result.stderr
