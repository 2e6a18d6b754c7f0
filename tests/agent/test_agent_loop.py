"""The agent's round: from what is there and what is wanted to what is applied and reported."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from played import (
    TAP,
    VNIC,
    PlayedAppliances,
    PlayedHypervisor,
    PlayedLinks,
    PlayedRefusal,
    PlayedSteering,
    guest,
)

from outrider.agent.files import AgentFiles
from outrider.agent.loop import AgentConfig, AgentLoop, ArmingRefused, GuestUnknown
from outrider.domain.appliance import ApplianceClass
from outrider.domain.guest import GuestState, VnicId
from outrider.domain.intent import ApplianceIntent, ServerIntent, WireIntent
from outrider.domain.wire import Hop, OpenReason, WireState
from outrider.domain.wire import Path as WirePath
from outrider.pipeline.table import SteeringTable
from outrider.session.agent import AgentSession
from outrider.session.messages import IntentMessage, encode


class Server:
    """An agent on a played server."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.links, self.hypervisor = PlayedLinks(), PlayedHypervisor()
        self.appliances, self.steering = PlayedAppliances(), PlayedSteering()
        self.restart()

    def restart(self) -> None:
        self.files = AgentFiles(self.state_dir)
        self.session = AgentSession("s1", "a", self.files.last_intent())
        config = AgentConfig("s1", "und0", "192.0.2.1")
        self.loop = AgentLoop(
            config, self.files, self.session, self.links, self.hypervisor, self.appliances, self.steering, PlayedRefusal
        )

    def told(self, *wires: WireIntent, appliances: tuple[ApplianceIntent, ...] = ()) -> None:
        generation = self.session.intent.generation + 1
        self.session.take_line(encode(IntentMessage(1, ServerIntent("s1", generation, wires, (), appliances))))

    @property
    def wire(self):
        assert self.loop.observation is not None
        (wire,) = self.loop.observation.wires
        return wire

    @property
    def row(self):
        (row,) = self.steering.tables[-1].wires
        return row


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_port_nobody_has_spoken_of_is_armed_and_holds(server: Server):
    server.links.ports.append(TAP)
    server.hypervisor.guests = [guest()]
    server.loop.round()
    assert server.steering.armed == [TAP.ifindex]
    assert server.row.state is WireState.HOLD
    assert server.wire.state == "hold" and server.wire.armed_at and server.wire.running_at


def test_a_port_is_armed_once(server: Server):
    server.links.ports.append(TAP)
    server.hypervisor.guests = [guest()]
    for _ in range(3):
        server.loop.round()
    assert server.steering.armed == [TAP.ifindex]


def test_a_path_through_an_appliance_that_is_not_there_is_not_reported_as_attached(server: Server):
    server.links.ports.append(TAP)
    server.hypervisor.guests = [guest()]
    path = WirePath(5, (Hop("ips-s1-1", "s1", 3),))
    wanted = ApplianceIntent("ips-s1-1", ApplianceClass("ips", ("ips",), "suricata-ips"))
    server.told(WireIntent(VNIC, "web-1", WireState.PATH, (path,), 5), appliances=(wanted,))
    server.loop.round()
    assert (server.row.state, server.wire.attached, server.wire.active) == (WireState.HOLD, (), None)
    assert any("has no ports" in condition.reason for condition in server.loop.observation.conditions)
    server.appliances.pairs["ips-s1-1"] = (11, 12)
    server.loop.round()
    assert (server.row.state, server.wire.attached, server.wire.active) == (WireState.PATH, (5,), 5)


async def test_the_hook_is_answered_when_the_port_is_armed_and_not_before(server: Server):
    announced = server.loop.announce("<domain/>")
    server.links.ports.append(TAP)
    server.told(WireIntent(VNIC, "web-1", WireState.HOLD))
    await server.loop.arm_guest(announced)
    assert server.steering.armed == [TAP.ifindex]
    assert server.wire.running_at is None, "it has not run yet"


async def test_the_hook_waits_for_a_path_that_is_being_put_in_place(server: Server):
    announced = server.loop.announce("<domain/>")
    server.links.ports.append(TAP)
    server.told(WireIntent(VNIC, "web-1", WireState.HOLD, pending=True))
    answering = asyncio.ensure_future(server.loop.arm_guest(announced))
    await asyncio.sleep(0.1)
    assert server.steering.armed == [TAP.ifindex] and not answering.done()
    server.told(WireIntent(VNIC, "web-1", WireState.OPEN, open_reason=OpenReason.NO_POLICY))
    server.loop.look_again()
    async with asyncio.timeout(0.5):
        await answering


async def test_a_guest_starts_armed_and_held_when_no_controller_answers(server: Server):
    announced = server.loop.announce("<domain/>")
    server.links.ports.append(TAP)
    await server.loop.arm_guest(announced)
    assert server.row.state is WireState.HOLD


async def test_a_start_whose_port_cannot_be_steered_is_refused_with_the_reason(server: Server):
    announced = server.loop.announce("<domain/>")
    server.links.ports.append(TAP)
    server.steering.refuse[TAP.ifindex] = "an ingress qdisc is in the way"
    with pytest.raises(ArmingRefused, match="an ingress qdisc is in the way"):
        await server.loop.arm_guest(announced)


async def test_a_start_with_a_vnic_no_program_sees_is_refused(server: Server):
    server.links.ports.append(TAP)
    with pytest.raises(ArmingRefused, match="macvtap"):
        await server.loop.arm_guest(guest(refused="macvtap has no port"))


def test_a_description_that_cannot_be_read_refuses_the_start(server: Server):
    with pytest.raises(ArmingRefused, match="not XML"):
        server.loop.announce("<domain")


def test_a_port_claimed_by_two_vnics_is_given_to_neither(server: Server):
    server.links.ports.append(TAP)
    other = replace(guest(), uuid="0d6b1c0e-0000-4000-8000-000000000002")
    server.hypervisor.guests = [guest(), other]
    server.loop.round()
    assert server.steering.tables[-1].wires == ()


def test_an_agent_without_controller_goes_on_with_the_intent_on_disk(server: Server):
    server.links.ports.append(TAP)
    server.hypervisor.guests = [guest()]
    wire = WireIntent(VNIC, "web-1", WireState.OPEN, open_reason=OpenReason.NO_POLICY)
    server.told(wire)
    accepted = server.session.accepted
    assert accepted is not None
    server.files.save_intent(accepted)
    server.restart()
    server.loop.round()
    assert server.row.state is WireState.OPEN


def test_an_agent_that_starts_while_libvirt_is_away_keeps_the_wires_it_had(server: Server):
    server.links.ports.append(TAP)
    server.hypervisor.guests = [guest()]
    server.told(WireIntent(VNIC, "web-1", WireState.OPEN, open_reason=OpenReason.NO_POLICY))
    server.loop.round()
    accepted = server.session.accepted
    assert accepted is not None
    server.files.save_intent(accepted)
    server.hypervisor.guests, server.hypervisor.has_looked = [], False
    server.restart()
    server.loop.round()
    assert server.row.state is WireState.OPEN
    server.hypervisor.has_looked = True
    server.loop.round()
    assert server.steering.tables[-1].wires == (), "libvirt has looked: the guest is gone indeed"


async def test_a_round_that_fails_is_told_and_made_again(server: Server, monkeypatch: pytest.MonkeyPatch):
    server.links.ports.append(TAP)
    server.hypervisor.guests = [guest()]
    rounds: list[int] = []

    def apply(table: SteeringTable) -> None:
        rounds.append(len(rounds))
        if len(rounds) < 3:
            server.loop.look_again()
            raise OSError(19, "No such device")

    monkeypatch.setattr(server.steering, "apply", apply)
    running = asyncio.ensure_future(server.loop.run())
    async with asyncio.timeout(5):
        await server.loop.reported.wait()
    running.cancel()
    assert len(rounds) == 3
    assert server.wire.state == "hold"


def test_a_release_is_audited_outlasts_a_restart_and_can_be_undone(server: Server):
    server.links.ports.append(TAP)
    server.hypervisor.guests = [guest()]
    server.loop.round()
    assert server.loop.release("web-1", False, "uid 0") == [str(VNIC)]
    assert (server.row.state, server.row.open_reason) == (WireState.OPEN, OpenReason.RELEASED)
    server.restart()
    server.loop.round()
    assert server.row.state is WireState.OPEN and server.wire.state == "released"
    server.loop.release("web-1", True, "uid 0")
    assert server.row.state is WireState.HOLD
    actions = [json.loads(line)["action"] for line in (server.state_dir / "audit.log").read_text().splitlines()]
    assert actions == ["release", "release-undone"]


def test_releasing_a_guest_that_is_not_here_says_so(server: Server):
    with pytest.raises(GuestUnknown):
        server.loop.release("web-9", False, "uid 0")


def test_frames_sent_before_arming_are_counted(server: Server):
    server.links.ports.append(replace(TAP, rx_packets=3))
    server.hypervisor.guests = [guest()]
    server.loop.round()
    assert server.wire.frames_before_arming == 3


def test_a_port_that_was_moved_here_does_not_count_its_former_life(server: Server):
    moved = replace(TAP, rx_packets=500, up=False)
    server.links.ports.append(moved)
    server.loop.round()  # nobody speaks of it yet: not armed, and not seen
    server.hypervisor.guests = [guest()]
    server.loop.round()
    assert server.wire.frames_before_arming == 0


def test_a_port_that_comes_back_as_another_interface_begins_anew(server: Server):
    server.links.ports.append(TAP)
    server.hypervisor.guests = [guest()]
    server.loop.round()
    server.links.ports[-1] = replace(TAP, ifindex=8)
    server.loop.round()
    assert server.steering.armed == [7, 8]
    assert server.row.ifindex == 8


def test_two_vnics_of_one_guest_are_two_wires(server: Server):
    server.links.ports += [TAP, replace(TAP, name="vnet1", ifindex=8)]
    second = replace(guest().vnics[0], mac="52:54:00:00:00:02", port="vnet1")
    server.hypervisor.guests = [replace(guest(GuestState.RUNNING), vnics=(*guest().vnics, second))]
    server.loop.round()
    assert [row.vnic for row in server.steering.tables[-1].wires] == [VNIC, VnicId(VNIC.guest, second.mac)]
