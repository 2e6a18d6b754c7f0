"""The main job on real virtual machines: live migration under libvirt, Suricata in VMs, traffic and attack."""

import threading
from collections.abc import Iterator

import pytest
from tests.system.rig import SystemLab, until

from outrider.lab.paths import LabError

pytestmark = [pytest.mark.system, pytest.mark.vm]


@pytest.fixture(scope="module")
def system() -> Iterator[SystemLab]:
    with SystemLab("systemvm", 2, "vm") as lab:
        lab.run("web-1", "s1", "10.10.0.11")
        lab.until_local("web-1", "s1")
        yield lab


def test_three_live_migrations_under_traffic_and_attack(system: SystemLab):
    with system.measured(rate=100) as measured:
        for target in ("s2", "s1", "s2"):
            system.move("web-1", target)
    measured.check_safe()
    measured.check_nothing_lost_to_us()
    first, second, third = system.api.rows("moves")
    assert first["interimAppliance"].startswith("suricata-ips-s1") and first["applianceRequested"]
    assert first["arrivalSeen"] <= first["armed"] < first["guestRunning"], "armed before the guest ran"
    assert first["applianceReady"] <= first["switched"]
    assert second["applianceRequested"] is None and third["applianceRequested"] is None
    assert {wire["framesBeforeArming"] for wire in system.api.rows("wires")} == {0}


def test_a_migration_that_is_cancelled_half_way_leaves_the_guest_inspected_where_it_was(system: SystemLab):
    here = system.lab.guest("web-1").server
    there = "s1" if here == "s2" else "s2"
    failed: list[LabError] = []

    def migrate() -> None:
        try:
            system.lab.migrate("web-1", there, bandwidth=1)
        except LabError as error:
            failed.append(error)

    with system.measured(rate=100) as measured:
        migrating = threading.Thread(target=migrate)
        migrating.start()
        until(lambda: system.wire("web-1", there) is not None, "the guest to be seen arriving", system.excuse)
        system.lab.cut_migration("web-1")
        migrating.join(30)
        until(lambda: system.wire("web-1", there) is None, "nothing to be left where it did not arrive", system.excuse)
    assert failed, "the operator is told"
    assert system.is_inspected("web-1", here, local=True)
    measured.check_safe()
    measured.check_nothing_lost_to_us()
    assert system.api.rows("moves")[-1]["state"] == "cancelled"


def test_an_agent_that_does_not_answer_refuses_the_arrival_and_the_guest_stays(system: SystemLab):
    here = system.lab.guest("web-1").server
    there = "s1" if here == "s2" else "s2"
    system.kill_agent(there)
    try:
        with pytest.raises(LabError, match=r"(?i)agent"):
            system.lab.migrate("web-1", there)
        assert system.lab.guest("web-1").server == here
        assert system.is_inspected("web-1", here, local=True)
    finally:
        system.start_agent(there)
    system.move("web-1", there)


def test_no_daemon_warned_of_anything_but_the_killed_agent(system: SystemLab):
    assert system.warnings() == []
