"""The main job with containers, many times, and with its parts killed: quick, and otherwise the real thing."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.system.rig import SystemLab, until

pytestmark = pytest.mark.system

GET = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=3).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture
def system() -> Iterator[SystemLab]:
    with SystemLab("system", 3, "container") as lab:
        yield lab


def outrider(system: SystemLab, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user would type it in another directory."""
    server = ["--server", f"unix:{system.lab.paths.controller_socket}"]
    command = [sys.executable, "-m", "outrider.cli.main", *words, *server]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=30, check=False)


def test_twenty_moves_under_traffic_and_attack(system: SystemLab):
    system.run("web-1", "s1", "10.10.0.11")
    system.run("web-2", "s3", "10.10.0.12")
    system.until_local("web-1", "s1")
    system.until_local("web-2", "s3")
    with system.measured() as measured:
        for target in ("s2", "s3", "s2", "s1") * 5:
            system.move("web-1", target)
    measured.check_safe()
    measured.check_nothing_lost_to_us()
    moves = system.api.rows("moves")
    assert len(moves) == 20 and {move["state"] for move in moves} == {"done"}
    assert len(system.api.rows("appliances")) == 3, "one appliance per server, made when first needed"
    assert {wire["framesBeforeArming"] for wire in system.api.rows("wires")} == {0}
    assert system.warnings() == []
    check_the_programs_own_counts(system)


def check_the_programs_own_counts(system: SystemLab) -> None:
    """What the wires say of themselves: nothing opened, nothing stale, and what came out had gone in."""
    for wire in system.api.rows("wires"):
        counted = {name: count["frames"] for name, count in wire["counters"].items()}
        assert counted["opened_egress"] == counted["opened_ingress"] == 0
        assert counted["stale_mark_egress"] == counted["stale_mark_ingress"] == 0
        assert counted["passed_egress"] <= counted["first_egress"]
        assert counted["passed_ingress"] <= counted["first_ingress"]


@pytest.mark.parametrize("step", ["before", "interim", "after"])
@pytest.mark.parametrize("which", ["source", "target", "controller"])
def test_a_part_is_killed_and_restarted_during_a_move(system: SystemLab, which: str, step: str):
    kill, start = {
        "source": (lambda: system.kill_agent("s1"), lambda: system.start_agent("s1")),
        "target": (lambda: system.kill_agent("s2"), lambda: system.start_agent("s2")),
        "controller": (system.kill_controller, system.start_controller),
    }[which]
    system.run("web-1", "s1", "10.10.0.11")
    system.until_local("web-1", "s1")
    with system.measured() as measured:
        if step == "before":
            kill()
            start()
        system.lab.migrate("web-1", "s2")
        if step == "interim":
            kill()
            start()
        system.until_local("web-1", "s2")
        if step == "after":
            kill()
            start()
            system.until_local("web-1", "s2")
    measured.check_safe()
    assert system.lab.guest("web-1").server != "s1"


def test_an_agent_s_death_touches_no_packet(system: SystemLab):
    system.run("web-1", "s1", "10.10.0.11")
    system.until_local("web-1", "s1")
    with system.measured(rate=500) as measured:
        for _ in range(3):
            system.kill_agent("s1")
            system.start_agent("s1")
            until(lambda: system.is_inspected("web-1", "s1"), "the new agent to report")
    measured.check_safe()
    assert measured.lost == [], "every packet was delivered, whoever was looking after the wires"


def test_a_guest_stays_on_its_interim_hop_while_its_own_appliance_never_gets_ready(system: SystemLab):
    system.run("web-1", "s1", "10.10.0.11")
    system.until_local("web-1", "s1")
    system.apply(ready_within_s=0.05)
    with system.measured() as measured:
        system.lab.migrate("web-1", "s2")
        until(lambda: _attempts(system, "s2") >= 2, "the appliance to be tried again", system.excuse)
        assert system.is_inspected("web-1", "s2", local=False)
    measured.check_safe()
    (failing,) = [row for row in system.api.rows("appliances") if row["server"] == "s2"]
    assert failing["reason"], "and the reason is shown"
    assert "web-1" in outrider(system, "explain", "guest", "web-1").stdout
    system.apply(ready_within_s=60.0)
    system.until_local("web-1", "s2")


def _attempts(system: SystemLab, server: str) -> int:
    return max((row["attempts"] for row in system.api.rows("appliances") if row["server"] == server), default=0)


def test_an_emergency_release_works_with_the_controller_dead_and_is_counted(system: SystemLab):
    system.apply(image="suricata-ips")
    system.run("web-1", "s1", "10.10.0.11")
    system.until_local("web-1", "s1")
    system.kill_controller()
    socket = system.lab.paths.server("s1").hook_socket
    done = subprocess.run(
        [sys.executable, "-m", "outrider.cli.main", "release", "guest", "web-1", "--agent", str(socket)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    attack = system.lab.exec("client", [sys.executable, "-c", GET, "http://10.10.0.11/attack"])
    assert attack.stdout.strip() == "404", "the attack arrived: the guest itself said that there is no such page"
    audit = (system.lab.paths.server("s1").state / "audit.log").read_text()
    assert json.loads(audit.splitlines()[-1])["action"] == "release"
    system.start_controller()
    until(lambda: opened_frames(system) > 0, "what passed uninspected to be reported, and counted as such")


def opened_frames(system: SystemLab) -> int:
    wire = system.wire("web-1", "s1")
    return wire["counters"]["opened_ingress"]["frames"] if wire and wire["released"] and wire["counters"] else 0
