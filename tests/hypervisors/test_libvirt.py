"""Real libvirt, real QEMU: what is seen of a guest that starts, moves, is refused, and of a libvirt that goes away."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hypervisors.conftest import HookedLab
from lab.reach import reaches, unanswered
from outrider.domain.guest import GuestState
from outrider.domain.observation import GuestObservation
from outrider.hypervisors.description import parse_domain
from outrider.hypervisors.libvirt import LibvirtHypervisor
from outrider.lab.paths import LabError

pytestmark = [pytest.mark.system, pytest.mark.vm]
ADDRESS = "10.10.0.21"
PATIENCE_S = 60  # a VM boots in two seconds under emulation, but not on a machine that is busy otherwise


class Watcher:
    """A hypervisor that remembers when a guest was first seen in which state, in the order seen."""

    def __init__(self, uri: str) -> None:
        self.hypervisor = LibvirtHypervisor(uri)
        self.seen: list[tuple[str, float]] = []

    def note(self) -> None:
        state = "absent"
        for guest in self.hypervisor.snapshot():
            state = guest.state.value
        if not self.seen or self.seen[-1][0] != state:
            self.seen.append((state, time.monotonic()))

    def states(self) -> list[str]:
        return [state for state, _ in self.seen]

    def when(self, state: str) -> float:
        return next(at for seen, at in self.seen if seen == state)

    def guest(self) -> GuestObservation:
        (guest,) = self.hypervisor.snapshot()
        return guest

    async def until(self, holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110  (a test asks again and again; it has no event)
                await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(uri: str) -> AsyncIterator[Watcher]:
    watcher = Watcher(uri)
    await watcher.hypervisor.start(watcher.note)
    try:
        yield watcher
    finally:
        await watcher.hypervisor.stop()


async def test_a_moving_guest_is_seen_arriving_before_it_runs_there_and_hooks_name_its_port(hooked: HookedLab) -> None:
    async with watching(hooked.uri("s1")) as source, watching(hooked.uri("s2")) as target:
        guest = await asyncio.to_thread(hooked.lab.run_guest, "v", "s1", ip=ADDRESS, labels={"tier": "web"})
        await source.until(lambda: source.states()[-1:] == ["running"])
        seen = source.guest()
        assert (seen.uuid, seen.name, seen.labels) == (guest.uuid, "v", {"tier": "web"})
        assert [(vnic.mac, vnic.refused) for vnic in seen.vnics] == [(guest.mac, None)]
        assert str(seen.vnics[0].port).startswith("vnet")
        began = time.monotonic()
        await asyncio.to_thread(hooked.lab.migrate, "v", "s2", 32)
        await target.until(lambda: target.states()[-1:] == ["running"])
        await source.until(lambda: source.states()[-1:] == ["absent"])
        assert target.states() == ["arriving", "running"]
        assert source.states() == ["running", "paused", "absent"]
        print(f"arriving {target.when('arriving') - began:.3f} s, running {target.when('running') - began:.3f} s")
        assert target.when("running") - target.when("arriving") > 0.3
    for server in ("s1", "s2"):
        (request,) = hooked.agents[server].asked("arm")
        assert request["phase"] == "start begin"
        assert str(parse_domain(request["xml"]).vnics[0].port).startswith("vnet")


def test_a_guest_goes_on_answering_while_it_moves_there_and_back(hooked: HookedLab) -> None:
    lab = hooked.lab
    lab.run_guest("v", "s1", ip=ADDRESS)
    assert reaches(lab, "c", ADDRESS, within_s=PATIENCE_S)
    ping = lab.popen("c", ["busybox", "ping", "-i", "0.05", "-w", "5", ADDRESS], stdout=subprocess.PIPE)
    up_before = float(lab.exec("v", ["cat", "/proc/uptime"]).stdout.split()[0])
    lab.migrate("v", "s2")
    lab.migrate("v", "s1")
    assert float(lab.exec("v", ["cat", "/proc/uptime"]).stdout.split()[0]) > up_before
    said = ping.communicate()[0].decode()
    assert unanswered(said) < said.count("bytes from"), said  # a busy machine stretches the two stops
    assert reaches(lab, "c", ADDRESS)


def test_commands_run_in_a_vm_by_its_own_shell(hooked: HookedLab) -> None:
    hooked.lab.run_guest("v", "s1", ip=ADDRESS)
    assert hooked.lab.exec("v", ["hostname"]).stdout == "v\n"
    failed = hooked.lab.exec("v", ["ls", "/no such directory"])
    assert failed.returncode == 1 and "No such file" in failed.stdout


def test_a_refused_start_is_told_in_the_agents_words(hooked: HookedLab) -> None:
    hooked.agents["s1"].answer = {"ok": False, "error": "vnet0 has an ingress qdisc"}
    with pytest.raises(LabError, match="Outrider does not let v start: vnet0 has an ingress qdisc"):
        hooked.lab.run_guest("v", "s1", ip=ADDRESS)
    assert hooked.lab.status().guests == {}


def test_an_agent_that_is_silent_refuses_the_start_at_the_deadline(hooked: HookedLab) -> None:
    hooked.agents["s1"].silent = True
    began = time.monotonic()
    with pytest.raises(LabError, match="did not arm its ports within 2 s"):
        hooked.lab.run_guest("v", "s1", ip=ADDRESS)
    assert time.monotonic() - began < 5


def test_a_refused_arrival_leaves_the_guest_running_at_its_source(hooked: HookedLab) -> None:
    hooked.lab.run_guest("v", "s1", ip=ADDRESS)
    assert reaches(hooked.lab, "c", ADDRESS, within_s=PATIENCE_S)
    hooked.agents["s2"].answer = {"ok": False, "error": "no programs"}
    with pytest.raises(LabError, match="Outrider does not let v start: no programs"):
        hooked.lab.migrate("v", "s2")
    assert hooked.lab.guest("v").server == "s1"
    assert reaches(hooked.lab, "c", ADDRESS)


async def test_a_migration_that_is_cut_leaves_the_guest_where_it_was(hooked: HookedLab) -> None:
    await asyncio.to_thread(hooked.lab.run_guest, "v", "s1", ip=ADDRESS)
    assert await asyncio.to_thread(reaches, hooked.lab, "c", ADDRESS, PATIENCE_S)
    async with watching(hooked.uri("s2")) as target:
        move = asyncio.create_task(asyncio.to_thread(hooked.lab.migrate, "v", "s2", 4))
        await target.until(lambda: target.states()[-1:] == ["arriving"])
        await asyncio.sleep(0.3)  # into the copying of memory
        await asyncio.to_thread(hooked.lab.cut_migration, "v")
        with pytest.raises(LabError, match="cancel"):
            await move
        await target.until(lambda: target.states()[-1:] == ["absent"])
    assert hooked.lab.guest("v").server == "s1"
    assert await asyncio.to_thread(reaches, hooked.lab, "c", ADDRESS)


async def test_an_announced_guest_is_seen_while_libvirt_is_still_held(hooked: HookedLab) -> None:
    agent = hooked.agents["s1"]
    async with watching(hooked.uri("s1")) as watcher:
        agent.silent = True
        start = asyncio.create_task(asyncio.to_thread(hooked.lab.run_guest, "v", "s1", ip=ADDRESS))
        await watcher.until(lambda: bool(agent.asked("arm")))
        began = time.monotonic()
        announced = watcher.hypervisor.announce(agent.asked("arm")[0]["xml"])
        assert time.monotonic() - began < 0.05
        assert watcher.hypervisor.snapshot() == [announced]
        assert announced.state is GuestState.ARRIVING
        with pytest.raises(LabError):
            await start


async def test_a_libvirt_that_is_restarted_is_found_again_and_its_guests_never_vanish(hooked: HookedLab) -> None:
    await asyncio.to_thread(hooked.lab.run_guest, "v", "s1", ip=ADDRESS)
    async with watching(hooked.uri("s1")) as watcher:
        before = watcher.hypervisor.snapshot()
        assert len(before) == 1
        await asyncio.to_thread(hooked.stop_libvirt, "s1")
        await watcher.until(lambda: watcher.hypervisor.problem is not None)
        assert watcher.hypervisor.snapshot() == before
        await asyncio.to_thread(hooked.start_libvirt, "s1")
        await watcher.until(lambda: watcher.hypervisor.problem is None)
        assert watcher.hypervisor.snapshot() == before
        await asyncio.to_thread(hooked.lab.stop_guest, "v")
        await watcher.until(lambda: not watcher.hypervisor.snapshot())


async def test_a_watcher_whose_libvirt_is_away_starts_anyway_and_says_so() -> None:
    async with watching("qemu+unix:///system?socket=/nowhere") as watcher:
        assert watcher.hypervisor.snapshot() == []
        assert "/nowhere" in str(watcher.hypervisor.problem)


async def test_labels_are_written_into_the_domain_and_travel_with_it(hooked: HookedLab) -> None:
    guest = await asyncio.to_thread(hooked.lab.run_guest, "v", "s1", ip=ADDRESS, labels={"tier": "web"})
    async with watching(hooked.uri("s1")) as source, watching(hooked.uri("s2")) as target:
        wanted = {"tier": "db", "example.org/zone": "a"}
        await source.hypervisor.set_labels(guest.uuid, wanted)
        await source.until(lambda: source.guest().labels == wanted)
        await asyncio.to_thread(hooked.lab.migrate, "v", "s2")
        await target.until(lambda: bool(target.hypervisor.snapshot()) and target.guest().labels == wanted)
        await target.hypervisor.set_labels(guest.uuid, {})
        await target.until(lambda: target.guest().labels == {})
        with pytest.raises(ValueError, match="labels of guest"):
            await source.hypervisor.set_labels("00000000-0000-0000-0000-000000000000", {})


async def test_a_vnic_that_is_plugged_and_unplugged_is_seen(hooked: HookedLab) -> None:
    guest = await asyncio.to_thread(hooked.lab.run_guest, "v", "s1", ip=ADDRESS)
    assert await asyncio.to_thread(reaches, hooked.lab, "c", ADDRESS, PATIENCE_S)
    vnic = "<mac address='52:54:00:aa:bb:cc'/><source bridge='br0'/><model type='virtio'/>"
    async with watching(hooked.uri("s1")) as watcher:
        hooked.lab.paths.home.joinpath("vnic.xml").write_text(f"<interface type='bridge'>{vnic}</interface>")
        command = ["virsh", "-c", hooked.uri("s1"), "attach-device", "v", f"{hooked.lab.paths.home}/vnic.xml", "--live"]
        await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
        await watcher.until(lambda: len(watcher.guest().vnics) == 2)
        assert {vnic.mac for vnic in watcher.guest().vnics} == {guest.mac, "52:54:00:aa:bb:cc"}
