"""Packets walked through compiled tables by the model: wherever one starts, it is inspected by its whole path, in
order, or it goes nowhere."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.domain.guest import VnicId
from outrider.domain.intent import Peer, ServerIntent, ServiceIntent, WireIntent
from outrider.domain.wire import Direction, Hop, Path, WireState
from outrider.pipeline.compile import LocalPorts, compile_table
from outrider.pipeline.explain import explain_verdict
from outrider.pipeline.model import ArrivedMark, EnteringMark, Hook, Packet, Reason, Verdict, WireMark, decide
from outrider.pipeline.table import Deliver, Enter, Side, SteeringTable, Tunnel

SERVERS = ("s1", "s2")
ADDRESS = {"s1": "10.8.0.1", "s2": "10.8.0.2"}
APPLIANCES = {"s1": ("a1", "b1"), "s2": ("a2", "b2")}
TUNNEL = 99
PEERS = tuple(Peer(server, address) for server, address in ADDRESS.items())


@dataclass(frozen=True)
class World:
    """Two servers with two appliances each; every wire is on s1."""

    tables: dict[str, SteeringTable]
    paths: dict[VnicId, Path]
    ports: dict[VnicId, int]


def ports_of(server: str, vnics: dict[VnicId, int]) -> LocalPorts:
    pairs = {name: (20 + 2 * i, 21 + 2 * i) for i, name in enumerate(APPLIANCES[server])}
    return LocalPorts(vnics, pairs, TUNNEL)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(1, 3))
    vnics = {VnicId(f"guest-{n}", f"02:00:00:00:01:{n:02x}"): 10 + n for n in range(count)}
    paths, services, lane, key = {}, [], 1, 1
    for number, me in enumerate(vnics):
        hops = []
        for name in draw(st.lists(st.sampled_from(("a1", "b1", "a2", "b2")), min_size=1, max_size=4)):
            server = f"s{name[1]}"
            remote = server != "s1"
            hops.append(Hop(name, server, lane, key if remote else None))
            if remote:
                services.append(ServiceIntent(number + 1, name, lane, key, "s1", ADDRESS["s1"]))
            lane, key = lane + 1, key + 1
        paths[me] = Path(number + 1, tuple(hops))
    wires = tuple(WireIntent(me, me.guest, WireState.PATH, (path,), path.id) for me, path in paths.items())
    tables = {
        "s1": compile_table(ServerIntent("s1", 1, wires, peers=PEERS), ports_of("s1", vnics)),
        "s2": compile_table(ServerIntent("s2", 1, services=tuple(services), peers=PEERS), ports_of("s2", {})),
    }
    return World(tables, paths, vnics)


def walk(world: World, me: VnicId, direction: Direction) -> tuple[list[str], Verdict]:
    """The appliances a packet passes, and the last verdict."""
    hook = Hook.FROM_GUEST if direction is Direction.EGRESS else Hook.TO_GUEST
    server, packet, passed = "s1", Packet(hook, world.ports[me]), list[str]()
    for _ in range(32):
        verdict = decide(packet, world.tables[server])
        match verdict.step:
            case Enter(appliance, side, ifindex, lane, way):
                assert decide(Packet(Hook.TO_APPLIANCE, ifindex, EnteringMark()), world.tables[server]).is_pass
                passed.append(appliance)
                other = ifindex + 1 if side is Side.INPORT else ifindex - 1
                packet = Packet(Hook.FROM_APPLIANCE, other, None, lane)
            case Tunnel(_, peer, number):
                sender, server = ADDRESS[server], next(name for name, at in ADDRESS.items() if at == peer)
                packet = Packet(Hook.FROM_TUNNEL, TUNNEL, ArrivedMark(), None, sender, number)
            case Deliver(vnic, ifindex, way):
                hook = Hook.FROM_GUEST if way is Direction.EGRESS else Hook.TO_GUEST
                packet = Packet(hook, ifindex, WireMark(vnic, way))
            case _:
                return passed, verdict
        assert explain_verdict(verdict)
    raise AssertionError("a packet that never ends")


@settings(max_examples=200, deadline=None)
@given(worlds(), st.sampled_from(Direction))
def test_every_packet_passes_its_whole_path_in_order_and_ends_inspected(world: World, direction: Direction):
    assert world.tables["s1"].problems == world.tables["s2"].problems == ()
    for me, path in world.paths.items():
        names = [hop.appliance for hop in path.hops]
        passed, verdict = walk(world, me, direction)
        assert passed == (names if direction is Direction.EGRESS else names[::-1])
        assert verdict.reason is Reason.MARKED


@settings(max_examples=200, deadline=None)
@given(worlds(), st.sampled_from(SERVERS), st.integers(1, 100), st.integers(0, 60), st.integers(0, 60))
def test_whatever_is_forged_an_unmarked_packet_passes_no_port(
    world: World, server: str, ifindex: int, lane: int, number: int
):
    table = world.tables[server]
    for hook in (Hook.FROM_GUEST, Hook.TO_GUEST, Hook.FROM_APPLIANCE, Hook.TO_APPLIANCE, Hook.TO_TUNNEL):
        assert not decide(Packet(hook, ifindex, None, lane), table).is_pass
    stranger = Packet(Hook.FROM_TUNNEL, TUNNEL, ArrivedMark(), lane, "10.9.9.9", number)
    assert decide(stranger, table).is_drop
    by_the_fabric = Packet(Hook.FROM_TUNNEL, TUNNEL, None, lane, ADDRESS["s2"], number)
    assert decide(by_the_fabric, table).reason is Reason.NOT_UNDERLAY
