"""Container guests in a lab: do they reach each other, and does a move keep what they were doing?"""

import pytest

from outrider.lab.lab import Lab

pytestmark = pytest.mark.system


def reaches(lab: Lab, sender: str, address: str) -> bool:
    return lab.exec(sender, ["busybox", "ping", "-c", "2", "-W", "2", address]).returncode == 0


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
