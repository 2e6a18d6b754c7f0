"""An attack that nothing stops must be noticed twice: by its answer, and by its bytes at the guest's port."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from stations import Machine, cable, machine_maker

from outrider.lab.measure.attack import AttackAccount, Attacker, Attempt, account_attacks
from outrider.lab.measure.capture import Capture
from outrider.lab.measure.packetid import Run
from outrider.lab.measure.places import PortMap


def attempt(number: int, *, sent: bool = True, answered: bool = False, harmless: bool = True) -> Attempt:
    return Attempt(number, "web-1", 1.0, sent, answered, harmless)


def test_an_attack_counts_as_stopped_only_when_a_harmless_request_was_answered_beside_it() -> None:
    assert account_attacks([attempt(1)], frozenset()) == AttackAccount(attempts=1, passed=0)
    assert account_attacks([attempt(1, harmless=False)], frozenset()) == AttackAccount(attempts=0, passed=0)
    assert account_attacks([attempt(1, sent=False)], frozenset()) == AttackAccount(attempts=0, passed=0)


def test_a_phase_in_which_no_attack_counted_is_not_called_blocked() -> None:
    assert not account_attacks([attempt(1, harmless=False)], frozenset()).blocked
    assert account_attacks([attempt(1)], frozenset()).blocked


def test_an_attack_whose_bytes_reached_the_port_has_passed_even_without_an_answer() -> None:
    account = account_attacks([attempt(1), attempt(2)], frozenset({2}))
    assert account == AttackAccount(attempts=2, passed=1)
    assert not account.blocked


@pytest.mark.system
def test_an_attack_past_every_appliance_is_answered_and_seen_at_the_guests_port(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello\n")
    with machine_maker() as make:
        client, server, guest = make(), make(), make()
        lay(client, server, guest)
        httpd = subprocess.Popen(
            ["nsenter", f"--net=/proc/{guest.pid}/ns/net", "busybox", "httpd", "-f", "-p", "80", "-h", str(tmp_path)]
        )
        try:
            run = Run(os.urandom(8))
            capture = Capture(run, {"s1": server.pid}, frozenset({"lo"}))
            heard: list[object] = []
            attacker = Attacker(run, client.pid, {"web-1": "192.0.2.2"}, "/", 0.1, heard.append)
            deadline = time.monotonic() + 10
            while not any("'answered': True" in str(line) for line in heard):
                assert time.monotonic() < deadline, heard
                time.sleep(0.05)
            attempts, captured = attacker.stop(), capture.stop()
        finally:
            httpd.kill()
            httpd.wait()
    passed = {one.number for one in attempts if one.answered}
    assert passed
    assert passed <= PortMap().attacks_delivered(captured)


def lay(client: Machine, server: Machine, guest: Machine) -> None:
    cable(server, "fab0", client, "eth0")
    cable(server, "vnet0", guest, "eth0")
    server.run("ip link add br0 type bridge forward_delay 0", "ip link set br0 up")
    server.run("ip link set fab0 master br0", "ip link set vnet0 master br0")
    client.run("ip addr add 192.0.2.1/24 dev eth0")
    guest.run("ip addr add 192.0.2.2/24 dev eth0")
