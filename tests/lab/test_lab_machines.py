"""VM guests in a lab: they answer, run commands, and go with the lab."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.reach import reaches
from outrider.lab.lab import Lab
from outrider.lab.paths import LabError
from outrider.lab.processes import wait_until

pytestmark = [pytest.mark.system, pytest.mark.vm]


def processes_naming(word: str) -> list[int]:
    """Processes whose command line holds ``word``, this one apart."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # it ended while it was looked at
    return [pid for pid in found if pid != os.getpid()]


def test_a_vm_and_a_container_reach_each_other_and_the_vm_goes_down_with_the_lab(vm_lab: Lab) -> None:
    vm_lab.up(2)
    vm = vm_lab.run_guest("v", "s1", ip="10.10.0.21", labels={"tier": "web"})
    vm_lab.run_guest("k", "s2", "container", ip="10.10.0.22")
    assert reaches(vm_lab, "k", "10.10.0.21", within_s=60)
    page = vm_lab.exec("k", ["busybox", "wget", "-qO-", "http://10.10.0.21/"])
    assert "v, a guest under Outrider's care" in page.stdout
    assert vm_lab.exec("v", ["ip", "-o", "link", "show", "eth0"]).stdout.count(vm.mac) == 1
    assert processes_naming(vm.uuid) != []
    vm_lab.down()
    assert processes_naming(vm.uuid) == []
    assert vm_lab.left_behind() == []


def test_a_vm_whose_mover_was_killed_is_found_where_libvirt_took_it_and_goes_down_with_the_lab(vm_lab: Lab) -> None:
    vm_lab.up(2)
    vm = vm_lab.run_guest("v", "s1", ip="10.10.0.21")
    move = f"Lab({vm_lab.paths.name!r}).migrate('v', 's2', 32)"
    program = f"from outrider.lab.lab import Lab; print('go', flush=True); {move}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as mover:
        assert mover.stdout and mover.stdout.readline() == b"go\n"
        wait_until(lambda: len(processes_naming(vm.uuid)) > 1, 20, "the second QEMU")
        mover.kill()
    # libvirt goes on with the move by itself; the lab finds the guest wherever it is
    wait_until(lambda: vm_lab.guest("v").server == "s2", 60, "the guest's arrival on s2")
    wait_until(lambda: len(processes_naming(vm.uuid)) == 1, 20, "the end of the first QEMU")
    assert vm_lab.migrate("v", "s2").server == "s2"
    vm_lab.down()
    assert processes_naming(vm.uuid) == []
    assert vm_lab.left_behind() == []


def test_a_vm_that_ended_by_itself_is_said_to_have_ended_and_can_be_started_again(vm_lab: Lab) -> None:
    vm_lab.up(1)
    first = vm_lab.run_guest("v", "s1", ip="10.10.0.21")
    (qemu,) = processes_naming(first.uuid)
    os.kill(qemu, signal.SIGKILL)
    wait_until(lambda: processes_naming(first.uuid) == [], 10, "the end of QEMU")
    with pytest.raises(LabError, match="guest 'v' has ended"):
        wait_until(lambda: vm_lab.guest("v") is None, 10, "libvirt's notice of the end")
    assert vm_lab.run_guest("v", "s1", ip="10.10.0.21").uuid != first.uuid


def test_a_vm_cannot_be_migrated_to_a_server_without_libvirt(vm_lab: Lab) -> None:
    vm_lab.up(1)
    vm_lab.up(2, libvirt=False)
    vm_lab.run_guest("v", "s1", ip="10.10.0.21")
    with pytest.raises(LabError, match="server s2 has no libvirt"):
        vm_lab.migrate("v", "s2")
