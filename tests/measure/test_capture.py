"""A server made by hand, whose "appliance" is a pair of cables: is a packet that goes past it found? a lost one?

The server has a bridge for each leg of the way: fab0 - [oro0 … ori0] - vnet0, where the appliance's two ports are the
server's ends of two cables into a namespace that bridges them. The way past the appliance is a third cable.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stations import Machine, cable, machine_maker

from outrider.domain.wire import Direction
from outrider.lab.measure.accounting import LossKind, PhaseAccount, account_phase, assemble_journeys
from outrider.lab.measure.capture import Capture, Captured
from outrider.lab.measure.packetid import Run
from outrider.lab.measure.places import PortMap, Side
from outrider.lab.measure.traffic import Flow, FlowKind, Traffic, TrafficLog

pytestmark = pytest.mark.system

PORTS = PortMap(
    appliances={("s1", "ori0"): ("ips-1", Side.IN), ("s1", "oro0"): ("ips-1", Side.OUT)},
    uplinks=frozenset({"fab0"}),
)
ECHO = Flow(1, FlowKind.ECHO, "web-1", "192.0.2.2", rate=400, limit=400)


@dataclass(frozen=True)
class World:
    """A client, a server with an appliance, a guest."""

    client: Machine
    server: Machine
    appliance: Machine
    guest: Machine


def bridge(machine: Machine, name: str, *ports: str) -> None:
    machine.run(f"ip link add {name} type bridge forward_delay 0 mcast_snooping 0", f"ip link set {name} up")
    machine.run(*(f"ip link set {port} master {name}" for port in ports))


@pytest.fixture
def world() -> Iterator[World]:
    with machine_maker() as make:
        yield furnish(World(make(), make(), make(), make()))


def furnish(world: World) -> World:
    """Lay the cables and bridges."""
    client, server, appliance, guest = world.client, world.server, world.appliance, world.guest
    cable(server, "fab0", client, "eth0")
    cable(server, "vnet0", guest, "eth0")
    cable(server, "oro0", appliance, "eth1")
    cable(server, "ori0", appliance, "eth0")
    bridge(appliance, "br0", "eth0", "eth1")
    bridge(server, "outside", "fab0", "oro0")
    bridge(server, "inside", "ori0", "vnet0")
    client.run("ip addr add 192.0.2.1/24 dev eth0")
    guest.run("ip addr add 192.0.2.2/24 dev eth0")
    return world


def wait_until_silent(pid: int, at_least: int, within_s: float = 20.0) -> None:
    """Wait until a namespace has sent ``at_least`` packets and, for a quarter of a second, no more."""
    deadline, last = time.monotonic() + within_s, -1
    while (now := packets_sent(pid)) < at_least or now != last:
        assert time.monotonic() < deadline, f"{now} of {at_least} packets sent in {within_s} s"
        last = now
        time.sleep(0.25)


def packets_sent(pid: int) -> int:
    """What the interfaces of the process's namespace have sent, loopback left out (field 10 of /proc/net/dev)."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    rows = [line.replace(":", " ").split() for line in lines]
    return sum(int(row[10]) for row in rows if row[0] != "lo")


def measure(world: World, flow: Flow = ECHO, meanwhile: Callable[[], None] = lambda: None) -> PhaseAccount:
    """What the accounting says of one flow, with ``meanwhile`` called half-way through."""
    run = Run(os.urandom(8))
    capture = Capture(run, {"s1": world.server.pid}, frozenset({"lo"}))
    traffic = Traffic(run, world.client.pid, [flow], seconds=20)
    traffic.begin()
    half = flow.limit / flow.rate / 2
    time.sleep(half)
    meanwhile()
    wait_until_silent(world.client.pid, at_least=flow.limit)
    log = traffic.stop()
    captured = capture.stop()
    assert captured.dropped == 0
    assert len(log.sent) + log.refused == flow.limit
    return account_of(flow, log, captured)


def account_of(flow: Flow, log: TrafficLog, captured: Captured) -> PhaseAccount:
    sightings = list(PORTS.sightings(captured.seen))
    return account_phase("before", assemble_journeys([flow], log, TrafficLog(), sightings))


def test_every_packet_through_the_appliance_is_found_inspected_and_delivered(world: World) -> None:
    account = measure(world)
    assert account.sent == account.received == account.inspected_by["ips-1"]
    assert account.sent == 2 * ECHO.limit
    assert (account.lost, account.duplicated, account.reordered, account.uninspected) == (0, 0, 0, 0)


def test_packets_that_take_a_way_past_the_appliance_are_found(world: World) -> None:
    """Half-way through, both bridges lose their appliance port and get a cable that joins them directly."""
    world.server.run(
        "ip link add past0 type veth peer name past1",
        "ip link set past0 master outside",
        "ip link set past1 master inside",
    )

    def bypass() -> None:
        world.server.run("ip link set oro0 nomaster", "ip link set past0 up", "ip link set past1 up")

    account = measure(world, meanwhile=bypass)
    assert 0 < account.uninspected <= account.received
    assert account.received - account.inspected_by["ips-1"] <= account.uninspected


def test_a_packet_lost_inside_the_appliance_is_located_there(world: World) -> None:
    def break_the_appliance() -> None:
        world.appliance.run("ip link set eth0 nomaster")

    account = measure(world, meanwhile=break_the_appliance)
    assert account.lost > 0
    assert account.uninspected == 0
    assert {loss.kind for loss in account.losses} == {LossKind.ENGINE}
    assert {loss.name for loss in account.losses} == {"ips-1"}


def test_a_packet_that_leaves_the_appliance_and_never_gets_to_the_port_is_the_switchs(world: World) -> None:
    account = measure(world, meanwhile=lambda: world.server.run("ip link set vnet0 nomaster"))
    assert account.lost_to_us == account.lost > 0
    assert {loss.kind for loss in account.losses} == {LossKind.PATH}


def test_a_packet_that_the_guest_does_not_answer_is_located_in_its_ports_queue(world: World) -> None:
    account = measure(world, meanwhile=lambda: world.guest.run("ip addr del 192.0.2.2/24 dev eth0"))
    assert account.lost > 0
    assert {(loss.kind, loss.name) for loss in account.losses} == {(LossKind.PORT_QUEUE, "vnet0")}


def test_both_directions_are_counted_by_themselves_with_a_peer_in_the_guest(world: World) -> None:
    run = Run(os.urandom(8))
    flows = [
        Flow(1, FlowKind.UDP, "web-1", "192.0.2.2", rate=300, limit=300),
        Flow(2, FlowKind.PEER, "web-1", "192.0.2.1", rate=300, limit=300),
    ]
    capture = Capture(run, {"s1": world.server.pid}, frozenset({"lo"}))
    peer = Traffic(run, world.guest.pid, flows[1:], seconds=20)
    client = Traffic(run, world.client.pid, flows[:1], seconds=20)
    peer.begin()
    client.begin()
    time.sleep(1.3)
    client.hush()
    peer.hush()
    sent_by_client, sent_by_peer = client.stop(), peer.stop()
    sightings = list(PORTS.sightings(capture.stop().seen))
    journeys = assemble_journeys(flows, sent_by_client, sent_by_peer, sightings)
    account = account_phase("before", journeys)
    assert account.sent == account.received == account.inspected_by["ips-1"] == 600
    assert {journey.packet.direction for journey in journeys} == set(Direction)
    assert account.uninspected == 0


def test_a_capture_keeps_up_with_thousands_of_packets_and_says_it_dropped_none(world: World) -> None:
    flow = Flow(1, FlowKind.ECHO, "web-1", "192.0.2.2", rate=1000, limit=2000)
    account = measure(world, flow)
    assert account.sent == account.received == 4000
