"""Labs as wholes: repeated commands, several at once, bad input, crashes, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.reach import reaches
from outrider.lab.lab import Lab
from outrider.lab.paths import LabError
from outrider.lab.processes import wait_until

pytestmark = pytest.mark.system


def test_two_labs_are_up_at_once_with_the_same_names_and_addresses_and_do_not_meet(lab: Lab, second_lab: Lab) -> None:
    for one in (lab, second_lab):
        one.up(2, libvirt=False)
        one.client("c", "10.10.0.1")
    lab.run_guest("a", "s1", "container", ip="10.10.0.11")
    assert reaches(lab, "c", "10.10.0.11")
    assert not reaches(second_lab, "c", "10.10.0.11", within_s=1)
    second_lab.down()
    assert second_lab.left_behind() == []
    assert reaches(lab, "c", "10.10.0.11")


def test_every_command_may_be_repeated(lab: Lab) -> None:
    record = lab.up(1, libvirt=False)
    assert lab.up(1, libvirt=False) == record
    assert list(lab.up(2, libvirt=False).servers) == ["s1", "s2"]
    guest = lab.run_guest("a", "s1", "container", ip="10.10.0.11")
    assert lab.run_guest("a", "s1", "container", ip="10.10.0.11") == guest
    client = lab.client("c", "10.10.0.1")
    assert lab.client("c", "10.10.0.1") == client
    assert lab.migrate("a", "s1") == guest
    lab.stop_guest("a")
    lab.stop_guest("a")
    lab.down()
    lab.down()


def test_a_lab_whose_creator_was_killed_is_taken_down_whole(lab: Lab) -> None:
    """Killed at several moments of bringing it up, also before it could write anything down."""
    program = (
        f"from outrider.lab.lab import Lab; lab = Lab({lab.paths.name!r}); lab.up(3, libvirt=False);"
        "lab.run_guest('a', 's1', 'container', ip='10.10.0.11'); lab.client('c', '10.10.0.1'); print('up', flush=True)"
    )
    for after_s in (0.0, 0.03, 0.1, 0.25):
        creator = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        try:
            wait_until(lambda: bool(lab.left_behind()), 20, "the first sign of the lab")
            time.sleep(after_s)
        finally:
            creator.kill()
            creator.communicate()
        assert lab.left_behind() != []
        lab.down()
        assert lab.left_behind() == []


def test_what_runs_in_a_lab_ends_with_it_even_in_a_session_and_environment_of_its_own(lab: Lab) -> None:
    lab.up(1, libvirt=False)
    lab.exec("s1", ["sh", "-c", "env -i setsid sleep 987 >/dev/null 2>&1 & env -i mount -t tmpfs none /mnt"])
    lab.down()
    processes = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]  # noqa: PTH208
    commands = [path.read_bytes() for path in processes if path.exists()]
    assert not [command for command in commands if command.startswith(b"sleep\x00987")]


def test_a_broken_lab_says_so_and_goes_down(lab: Lab) -> None:
    lab.up(1, libvirt=False)
    os.kill(lab.server_pid("s1"), signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{lab.server_pid('s1')}").exists(), 5, "the server's end")
    with pytest.raises(LabError, match="is broken: take it down"):
        lab.up(1, libvirt=False)
    with pytest.raises(LabError, match="its namespaces are gone"):
        lab.exec("s1", ["true"])
    lab.down()
    assert lab.left_behind() == []


def test_a_controller_that_ends_at_once_is_told_with_its_last_words_and_nothing_stays(lab: Lab) -> None:
    with pytest.raises(LabError, match="controller ended at once: no such policy"):
        lab.up(1, libvirt=False, controller=["sh", "-c", "echo no such policy; exit 3"])
    assert lab.left_behind() == []


def test_controller_and_agents_are_started_with_their_words_in_their_places(lab: Lab) -> None:
    listen = (
        "import socket, sys, time\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)"
    )
    lab.up(
        2,
        libvirt=False,
        controller=[sys.executable, "-c", listen, "{socket}", "{state_dir}"],
        agent=[sys.executable, "-c", listen, "{hook_socket}", "{server}", "{tunnel_address}", "{controller}"],
    )
    inside = lab.exec("s2", ["ps", "ax"]).stdout
    assert f"hook.sock s2 10.255.0.2 unix:{lab.paths.controller_socket}" in inside
    assert "controller" not in inside.replace("controller.sock", "")
    assert lab.status().servers["s1"].agent


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda lab: lab.run_guest("a", "s9", "container", ip="10.0.0.1"), "there is no server 's9'; there are: s1"),
        (lambda lab: lab.run_guest("a", "s1", "pod", ip="10.0.0.1"), "format 'pod' is not known: vm or container"),
        (lambda lab: lab.run_guest("a", "s1", "container", ip="10.0.0"), "'10.0.0' is not an IPv4 address"),
        (lambda lab: lab.run_guest("A b", "s1", "container", ip="10.0.0.1"), "guest name: 'A b' is not a name"),
        (lambda lab: lab.run_guest("s1", "s1", "container", ip="10.0.0.1"), "the name 's1' is taken"),
        (lambda lab: lab.run_guest("a", "s1", "container", ip="10.0.0.1", labels={"-": ""}), "label key '-'"),
        (lambda lab: lab.run_guest("a", "s1", "vm", ip="10.0.0.1"), "server s1 has no libvirt"),
        (lambda lab: lab.migrate("a", "s1"), "there is no guest 'a'; there are: none"),
        (lambda lab: lab.exec("a", ["true"]), "there is no guest 'a'"),
        (lambda lab: lab.up(0), "between 1 and"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(lab: Lab, wrong: object, sentence: str) -> None:
    lab.up(1, libvirt=False)
    with pytest.raises(LabError, match=sentence) as error:
        wrong(lab)  # type: ignore[operator]
    assert "\n" not in str(error.value)


def test_a_lab_that_is_not_up_says_how_to_start_it(lab: Lab) -> None:
    with pytest.raises(LabError, match="start one with `outrider lab up`"):
        lab.status()
