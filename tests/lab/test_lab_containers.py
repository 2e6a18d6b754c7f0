"""Container guests in a lab: do they reach each other, and does a move keep what they were doing?"""

import json
import subprocess
from dataclasses import replace

import pytest

from hypervisors.fake_agent import FakeAgent
from lab.reach import reaches
from outrider.lab.lab import Lab
from outrider.lab.paths import LabError
from outrider.lab.port import carry_port
from outrider.lab.record import edit_record

pytestmark = pytest.mark.system

LISTEN = (
    "import socket; s = socket.create_server(('', 7000)); c, _ = s.accept()\n"
    "for line in c.makefile(): c.sendall(line.encode())"
)
TALK = (
    "import socket, sys\n"
    "s = socket.create_connection(('10.10.0.12', 7000), 5); f = s.makefile('rw')\n"
    "for line in sys.stdin: f.write(line); f.flush(); print(f.readline(), end='', flush=True)"
)


def say(talk: "subprocess.Popen[bytes]", word: str) -> str:
    assert talk.stdin and talk.stdout
    talk.stdin.write(f"{word}\n".encode())
    talk.stdin.flush()
    return talk.stdout.readline().decode().strip()


def with_agents(lab: Lab, *names: str) -> list[FakeAgent]:
    """Agents that a test makes answer, on the sockets where the lab expects the real ones."""
    for name in names:
        edit_record(lab.paths, lambda record, name=name: record.with_server(replace(record.servers[name], agent=True)))
    return [FakeAgent(lab.paths.server(name).hook_socket) for name in names]


def test_guests_on_two_servers_reach_each_other_and_the_client_across_the_fabric(lab: Lab) -> None:
    lab.up(2, libvirt=False)
    lab.run_guest("a", "s1", "container", ip="10.10.0.11")
    lab.run_guest("b", "s2", "container", ip="10.10.0.12")
    lab.client("c", "10.10.0.1")
    assert reaches(lab, "a", "10.10.0.12")
    assert reaches(lab, "c", "10.10.0.11")
    assert reaches(lab, "c", "10.10.0.12")
    page = lab.exec("c", ["busybox", "wget", "-qO-", "http://10.10.0.12/"])
    assert "a guest of the Outrider lab" in page.stdout


def test_full_size_frames_cross_the_fabric_and_the_underlay_has_room_for_the_tunnel(lab: Lab) -> None:
    lab.up(2, libvirt=False)
    lab.run_guest("a", "s1", "container", ip="10.10.0.11")
    lab.client("c", "10.10.0.1")
    assert lab.exec("c", ["busybox", "ping", "-c1", "-W2", "-s", "1472", "10.10.0.11"]).returncode == 0
    assert lab.exec("s1", ["busybox", "ping", "-c1", "-W2", "-s", "1672", "10.255.0.2"]).returncode == 0


def test_a_move_keeps_a_tcp_connection(lab: Lab) -> None:
    lab.up(2, libvirt=False)
    guest = lab.run_guest("b", "s1", "container", ip="10.10.0.12")
    lab.client("c", "10.10.0.1")
    listen = lab.popen("b", ["python3", "-c", LISTEN])
    lab.exec("b", ["sh", "-c", "until busybox netstat -ltn | grep -q :7000; do sleep 0.05; done"])
    talk = lab.popen("c", ["python3", "-c", TALK], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert say(talk, "before") == "before"
    for server in ("s2", "s1", "s2"):
        moved = lab.migrate("b", server)
        assert say(talk, f"on {server}") == f"on {server}"
        assert (moved.uuid, moved.mac, moved.port) == (guest.uuid, guest.mac, guest.port)
        assert guest.port in lab.exec(server, ["ip", "link", "show", "master", "br0"]).stdout
    talk.communicate(timeout=5)
    listen.wait(timeout=5)


def test_each_server_is_told_of_its_guests(lab: Lab) -> None:
    lab.up(2, libvirt=False)
    guest = lab.run_guest("b", "s1", "container", ip="10.10.0.12", labels={"tier": "web"})
    (description,) = lab.paths.server("s1").containers.iterdir()
    assert json.loads(description.read_text()) == {
        "uuid": guest.uuid,
        "name": "b",
        "state": "running",
        "labels": {"tier": "web"},
        "vnics": [{"mac": guest.mac, "port": guest.port}],
    }
    lab.migrate("b", "s2")
    assert list(lab.paths.server("s1").containers.iterdir()) == []
    assert len(list(lab.paths.server("s2").containers.iterdir())) == 1
    lab.stop_guest("b")
    assert list(lab.paths.server("s2").containers.iterdir()) == []


def test_the_agent_is_asked_to_arm_before_the_link_is_up(lab: Lab) -> None:
    lab.up(1, libvirt=False)
    (agent,) = with_agents(lab, "s1")
    seen: list[str] = []
    agent.on_request = lambda request: seen.append(lab.exec("s1", ["ip", "-o", "link"]).stdout)
    guest = lab.run_guest("b", "s1", "container", ip="10.10.0.12")
    (request,) = agent.asked("arm")
    assert json.loads(request["xml"])["vnics"] == [{"mac": guest.mac, "port": guest.port}]
    (line,) = [line for line in seen[0].splitlines() if str(guest.port) in line]
    assert "state DOWN" in line and "master" not in line
    agent.close()


def test_a_refused_start_leaves_nothing_of_the_guest(lab: Lab) -> None:
    lab.up(1, libvirt=False)
    (agent,) = with_agents(lab, "s1")
    agent.answer = {"ok": False, "error": "no programs"}
    before = lab.left_behind()
    with pytest.raises(LabError, match="the agent refused: no programs"):
        lab.run_guest("b", "s1", "container", ip="10.10.0.12")
    assert lab.status().guests == {}
    assert lab.left_behind() == before
    assert list(lab.paths.server("s1").containers.iterdir()) == []
    agent.close()


def test_a_refused_move_leaves_the_guest_running_where_it_was(lab: Lab) -> None:
    lab.up(2, libvirt=False)
    _, target = with_agents(lab, "s1", "s2")
    lab.run_guest("b", "s1", "container", ip="10.10.0.12")
    lab.client("c", "10.10.0.1")
    target.answer = {"ok": False, "error": "no programs"}
    with pytest.raises(LabError, match="goes on running on s1: the agent refused: no programs"):
        lab.migrate("b", "s2")
    assert lab.guest("b").server == "s1"
    assert reaches(lab, "c", "10.10.0.12")
    assert list(lab.paths.server("s2").containers.iterdir()) == []


def test_a_move_that_was_killed_half_way_is_finished_by_the_next(lab: Lab) -> None:
    lab.up(2, libvirt=False)
    guest = lab.run_guest("b", "s1", "container", ip="10.10.0.12")
    lab.client("c", "10.10.0.1")
    carry_port(str(guest.port), lab.server_pid("s1"), lab.server_pid("s2"))
    assert lab.migrate("b", "s2").server == "s2"
    assert reaches(lab, "c", "10.10.0.12")


def test_an_agent_that_does_not_answer_refuses_the_start(lab: Lab) -> None:
    lab.up(1, libvirt=False)
    (agent,) = with_agents(lab, "s1")
    agent.close()
    with pytest.raises(LabError, match="did not acknowledge"):
        lab.run_guest("b", "s1", "container", ip="10.10.0.12")
