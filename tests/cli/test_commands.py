"""The commands that ask agents, look at the machine, or only end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from outrider import __version__
from outrider.cli import main, places, uplink
from outrider.cli.checkup import try_in_fresh_network
from outrider.cli.exits import CRASHED, FAILED, NOT_ALLOWED, NOT_FOUND, OK, REFUSED, UNREACHABLE, USAGE
from outrider.cli.frames import Flow, Protocol, craft_frame

from .conftest import Cli, Controller, FakeAgent

Agents = Callable[..., FakeAgent]


def test_version_answers_at_once(cli: Cli) -> None:
    assert cli("version") == (OK, f"outrider {__version__}\n", "")
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "outrider.cli.main", "version"], check=True, capture_output=True)
    assert time.monotonic() - began < 2  # 0.25 s on an idle machine; a slow import would take more than this


def test_help_names_every_command(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == OK
    assert all(f"\n  {name} " in out for name in main.COMMANDS)


@pytest.mark.parametrize("name", sorted(set(main.COMMANDS) - {"lab", "demo", "bench"}))
def test_every_command_has_help(name: str, cli: Cli) -> None:
    code, out, err = cli(name, "--help")
    assert (code, err) == (OK, "") and f"outrider {name}" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gett"], "No such command 'gett'"),
        (["version", "--loud"], "--loud"),
        (["get"], "KIND"),
        (["agent", "--appliance-slots", "many"], "--appliance-slots"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(arguments: list[str], says: str, cli: Cli) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (USAGE, "")
    assert says in err and err.count("\n") == 1


def test_a_crash_keeps_its_traceback_and_says_where(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down() -> None:
        raise RuntimeError("broken inside")

    monkeypatch.setattr(main, "LOG_DIR", tmp_path)
    monkeypatch.setattr("outrider.cli.version.version", break_down)
    code, _, err = cli("version")
    (log,) = tmp_path.glob("crash-*.log")
    assert code == CRASHED
    assert str(log) in err and err.count("\n") == 1
    assert "broken inside" in log.read_text()


def test_a_command_that_is_not_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main.COMMANDS, "lab", ("outrider.cli.no_such_lab", "app", "x"))
    code, _, err = cli("lab", "up")
    assert code == FAILED and "this installation has no lab" in err


def test_release_tells_the_agent_who_asked(
    cli: Cli, agents: Agents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent.sock"
    agent = agents(path, lambda request: {"ok": True, "vnics": ["u/m"]})
    monkeypatch.setenv("SUDO_USER", "alice")
    code, out, err = cli("release", "guest", "web-1", "--agent", str(path))
    assert code == OK and "UNINSPECTED" in out and "--undo" in err
    assert "alice" in agent.requests[0]["who"]
    assert (agent.requests[0]["op"], agent.requests[0]["undo"]) == ("release", False)
    assert "inspected again" in cli("release", "guest", "web-1", "--undo", "--agent", str(path))[1]


def test_in_a_lab_the_agents_that_know_the_guest_answer(
    cli: Cli, agents: Agents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LABS", tmp_path)
    monkeypatch.setattr(places, "AGENT_SOCKET", tmp_path / "none.sock")
    for server, answer in {
        "s1": {"ok": False, "error": "no guest or field 'web-1' on s1"},
        "s2": {"ok": True, "lines": ["vnet0 on s2:", "  → lane 7"]},
    }.items():
        directory = tmp_path / "lab" / "servers" / server
        directory.mkdir(parents=True)
        agents(directory / "hook.sock", lambda request, answer=answer: answer)
    assert cli("trace", "guest", "web-1") == (OK, "vnet0 on s2:\n  → lane 7\n", "")


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ({"ok": False, "error": "no guest or field 'web-1' on s1"}, NOT_FOUND, "no guest"),
        ({"ok": False, "error": "the port is refused"}, REFUSED, "the port is refused"),
        (b"", UNREACHABLE, "no answer that can be read"),
        (b"[]\n", REFUSED, "without a reason"),
    ],
)
def test_an_agent_that_says_no(answer: object, code: int, says: str, cli: Cli, agents: Agents, tmp_path: Path) -> None:
    agents(tmp_path / "agent.sock", lambda request: answer)
    found, out, err = cli("trace", "guest", "web-1", "--agent", str(tmp_path / "agent.sock"))
    assert (found, out) == (code, "") and says in err


def test_no_agent(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("release", "guest", "web-1", "--agent", str(tmp_path / "nobody.sock"))
    assert code == UNREACHABLE and "nobody.sock" in err


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--packet", "xyz", USAGE),
        ("--packet", "00", REFUSED),
        ("--guest-ip", "fe80::1", USAGE),
        ("--other-port", "70000", USAGE),
    ],
)
def test_a_packet_that_is_none(option: str, value: str, code: int, cli: Cli) -> None:
    assert cli("trace", "guest", "web-1", option, value)[0] == code


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("from_guest", [True, False])
def test_crafted_frames_are_well_formed(protocol: Protocol, from_guest: bool) -> None:
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.l2 import Ether

    frame = craft_frame(Flow(protocol, "192.0.2.1", "198.51.100.9", 1234, 80), from_guest)
    read = Ether(frame)
    rebuilt = read.copy()
    layer = {Protocol.TCP: TCP, Protocol.UDP: UDP, Protocol.ICMP: ICMP}[protocol]
    del rebuilt[IP].chksum, rebuilt[layer].chksum
    assert bytes(Ether(bytes(rebuilt))) == frame  # scapy computes the same checksums
    assert (read[IP].src, read[IP].dst) == ("192.0.2.1", "198.51.100.9")


def test_doctor_says_what_it_finds(cli: Cli) -> None:
    code, out, _ = cli("doctor", "-o", "json", "--port", "no-such-port")
    found = {item["name"]: item for item in json.loads(out)["items"]}
    assert code == FAILED  # the port that is not there
    assert found["port no-such-port"]["verdict"] == "fail"
    assert found["kernel"]["found"] == os.uname().release
    assert all(item["verdict"] == "ok" or item["advice"] for item in found.values())
    assert not any("the check itself failed" in item["found"] for item in found.values())


@pytest.mark.system
def test_what_is_tried_in_a_fresh_network_leaves_nothing() -> None:
    def fail() -> None:
        raise ValueError("for a reason")

    before = Path("/proc/self/ns/net").readlink()
    assert try_in_fresh_network(lambda: None) is None
    assert try_in_fresh_network(fail) == "for a reason"
    assert Path("/proc/self/ns/net").readlink() == before


def test_the_machines_own_controller_is_meant_before_the_labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, lab = tmp_path / "controller.sock", tmp_path / "lab" / "controller.sock"
    monkeypatch.setattr(places, "CONTROLLER_SOCKET", own)
    monkeypatch.setattr(places, "LABS", tmp_path)
    assert places.controller_address(None) == f"unix:{own}"
    lab.parent.mkdir()
    lab.touch()
    assert places.controller_address(None) == f"unix:{lab}"
    own.touch()
    assert places.controller_address(None) == f"unix:{own}"
    assert places.controller_address("/some/path") == "unix:/some/path"


def test_an_interface_without_address_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no-such0 has no IPv4 address"):
        uplink.default_uplink("no-such0", None)
    assert uplink.default_uplink("lo", None) == ("lo", "127.0.0.1")


def test_without_root_the_agent_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, _, err = cli("agent")
    assert code == NOT_ALLOWED and "needs root" in err


def test_a_reader_that_has_seen_enough_is_no_error(controller: Controller) -> None:
    # The reader closes before the first line is written, so that writing must fail.
    command = f"{sys.executable} -m outrider.cli.main events -o json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
