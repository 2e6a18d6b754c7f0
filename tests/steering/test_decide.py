"""The decision itself: random packets over random tables get the same verdict from the kernel and from the model."""

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.domain.wire import PROBE_LANE, Direction, WireState
from outrider.pipeline import model
from outrider.pipeline.model import ArrivedMark, EnteringMark, Hook, Packet, Reason, Verdict, WireMark
from outrider.pipeline.table import (
    AppliancePort,
    Deliver,
    Enter,
    KeyRow,
    LaneRow,
    PathRow,
    Side,
    SteeringTable,
    Step,
    Tunnel,
    WireRow,
)
from outrider.steering import layout
from outrider.steering.backend import EbpfSteering
from outrider.steering.layout import Action
from outrider.steering.marks import DEFAULT_MARK_MASK, MarkFields
from outrider.steering.trace import Answer, Question, ask, with_lane

from .servers import SMALL, vnic
from .stage import Stage, frame, inside

pytestmark = pytest.mark.system

PROGRAM = {
    Hook.FROM_GUEST: layout.FROM_GUEST,
    Hook.TO_GUEST: layout.TO_GUEST,
    Hook.FROM_APPLIANCE: layout.FROM_APPLIANCE,
    Hook.TO_APPLIANCE: layout.TO_APPLIANCE,
    Hook.FROM_TUNNEL: layout.FROM_TUNNEL,
    Hook.TO_TUNNEL: layout.TO_TUNNEL,
}
FIELDS = MarkFields.of(DEFAULT_MARK_MASK)
PEERS = ("10.8.0.1", "10.8.0.2")
LANES = (1, 2, 4000, PROBE_LANE)
PLAIN = frame("02:00:00:00:01:01", "02:00:00:00:01:02", b"payload")


@dataclass
class Bench:
    """Real interfaces (the test runner wants them to exist), none of which carries a program."""

    steering: EbpfSteering
    wires: list[int]
    ports: list[int]
    tunnel: int

    def mark_bits(self, packet: Packet) -> int:
        if packet.mark is None:
            return 0
        if isinstance(packet.mark, EnteringMark):
            return FIELDS.entering
        if isinstance(packet.mark, ArrivedMark):
            return FIELDS.arrived
        slot, epoch = self.steering._wires.wire_place(self.wires[self.number(packet.mark)])
        if not packet.mark.is_current:
            epoch = FIELDS.next_epoch(epoch)
        return FIELDS.of_wire(slot, epoch, packet.mark.direction)

    @staticmethod
    def number(mark: WireMark) -> int:
        return int(mark.vnic.guest[-12:], 16)

    def ask(self, packet: Packet, other_bits: int = 0) -> Answer:
        tagged = with_lane(PLAIN, packet.lane) if packet.lane is not None else PLAIN
        question = Question(
            PROGRAM[packet.hook],
            packet.ifindex,
            tagged,
            self.mark_bits(packet) | other_bits,
            packet.sender or "0.0.0.0",
            packet.tunnel_id,
        )
        return ask(self.steering._tables, question)


@pytest.fixture(scope="module")
def bench(cache: Path) -> Iterator[Bench]:
    stage = Stage()
    try:
        for number in range(4):
            stage.pair(("s1", f"a{number}"), ("s1", f"b{number}"))
        with inside(stage.namespace("s1")):
            steering = EbpfSteering("s1", cache_dir=cache, sizes=SMALL)
            indexes = [index for index, name in socket.if_nameindex() if name[0] in "ab"]
            steering.guard_tunnel(indexes[7], socket.if_nametoindex("lo"))
            yield Bench(steering, indexes[:3], indexes[3:7], indexes[7])
        steering.close()
    finally:
        stage.close()


def steps(bench: Bench) -> st.SearchStrategy[Step]:
    way = st.sampled_from(Direction)
    wires = st.integers(0, len(bench.wires) - 1)
    return st.one_of(
        st.builds(lambda n, d: Deliver(vnic(n), bench.wires[n], d), wires, way),
        st.builds(
            lambda i, lane, d: Enter("nul", Side.INPORT, i, lane, d),
            st.sampled_from(bench.ports),
            st.sampled_from(LANES[:3]),
            way,
        ),
        st.builds(lambda p, i, d: Tunnel(bench.tunnel, p, i, d), st.sampled_from(PEERS), st.integers(2, 9), way),
    )


@st.composite
def tables(draw: st.DrawFn, bench: Bench) -> SteeringTable:
    some = steps(bench)
    paths = tuple(PathRow(number, draw(some), draw(some)) for number in range(1, draw(st.integers(1, 4))))
    wires = []
    for number, ifindex in enumerate(bench.wires):
        state = draw(st.sampled_from(WireState))
        if state is WireState.PATH and not paths:
            state = WireState.HOLD
        active = draw(st.sampled_from(paths)).id if state is WireState.PATH else None
        wires.append(WireRow(vnic(number), ifindex, state, active, draw(st.booleans())))
    cells = draw(st.sets(st.tuples(st.sampled_from(bench.ports), st.sampled_from(LANES[:3])), max_size=6))
    lanes = tuple(LaneRow(ifindex, lane, 9, draw(some)) for ifindex, lane in cells)
    identifiers = draw(st.sets(st.integers(2, 9), max_size=5))
    keys = tuple(KeyRow(number, draw(st.sampled_from(PEERS)), 9, draw(some)) for number in identifiers)
    appliance = tuple(AppliancePort("nul", Side.INPORT, ifindex) for ifindex in bench.ports)
    return SteeringTable(tuple(wires), paths, lanes, keys, (), appliance)


def packets(bench: Bench) -> st.SearchStrategy[Packet]:
    marks = st.one_of(
        st.none(),
        st.just(EnteringMark()),
        st.just(ArrivedMark()),
        st.just(ArrivedMark()),
        st.builds(WireMark, st.integers(0, len(bench.wires) - 1).map(vnic), st.sampled_from(Direction), st.booleans()),
    )
    return st.builds(
        Packet,
        st.sampled_from(Hook),
        st.sampled_from([*bench.wires, *bench.ports, bench.tunnel]),
        marks,
        st.one_of(st.none(), st.sampled_from((0, *LANES, 4095))),
        st.sampled_from((*PEERS, "10.8.0.3")),
        st.sampled_from((0, 1, 2, 3, 5, 9, 65_535, 65_536, 1 << 23)),
    ).map(lambda packet: replace(packet, ifindex=bench.tunnel) if packet.hook is Hook.FROM_TUNNEL else packet)


def meaning(bench: Bench, answer: Answer, table: SteeringTable) -> Verdict:
    """The kernel's bits in the model's words."""
    reason = Reason(answer.reason)
    if reason is not Reason.ONWARD:
        assert answer.action is (Action.PASS if Verdict(reason).is_pass else Action.DROP)
        return Verdict(reason)
    match answer.action:
        case Action.DELIVER:
            number = bench.wires.index(answer.ifindex)
            slot, epoch = bench.steering._wires.wire_place(answer.ifindex)
            assert answer.value == FIELDS.of_wire(slot, epoch, answer.direction)
            return Verdict(reason, Deliver(vnic(number), answer.ifindex, answer.direction), answer.path)
        case Action.ENTER:
            return Verdict(
                reason, Enter("nul", Side.INPORT, answer.ifindex, answer.value, answer.direction), answer.path
            )
        case _:
            return Verdict(reason, Tunnel(answer.ifindex, answer.peer, answer.value, answer.direction), answer.path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_kernel_and_model_agree(bench: Bench, data: st.DataObject):
    """150 tables of 40 packets each: 6,000 verdicts."""
    table = data.draw(tables(bench))
    bench.steering.apply(table)
    for packet in data.draw(st.lists(packets(bench), min_size=40, max_size=40)):
        answer = bench.ask(packet, other_bits=data.draw(st.sampled_from((0, 0x5A))))
        assert meaning(bench, answer, table) == model.decide(packet, table)


def every_branch(bench: Bench) -> tuple[SteeringTable, dict[str, tuple[Packet, Reason]]]:
    """One packet for each branch of ``decide``."""
    path, open_wire, held = bench.wires
    port, wired = bench.ports[0], bench.tunnel
    home = Deliver(vnic(0), path, Direction.EGRESS)
    into = Enter("nul", Side.INPORT, port, 1, Direction.EGRESS)
    table = SteeringTable(
        (
            WireRow(vnic(0), path, WireState.PATH, 1),
            WireRow(vnic(1), open_wire, WireState.OPEN, None, True),
            WireRow(vnic(2), held, WireState.HOLD),
        ),
        (PathRow(1, into, into),),
        (LaneRow(port, 1, 1, home),),
        (KeyRow(2, PEERS[0], 1, into),),
        (),
        tuple(AppliancePort("nul", Side.INPORT, ifindex) for ifindex in bench.ports),
    )
    out, into_guest = WireMark(vnic(0), Direction.EGRESS), WireMark(vnic(0), Direction.INGRESS)
    return table, {
        "first": (Packet(Hook.FROM_GUEST, path), Reason.ONWARD),
        "first, inwards": (Packet(Hook.TO_GUEST, path), Reason.ONWARD),
        "inspected": (Packet(Hook.FROM_GUEST, path, out), Reason.MARKED),
        "inspected, inwards": (Packet(Hook.TO_GUEST, path, into_guest), Reason.MARKED),
        "other direction": (Packet(Hook.TO_GUEST, path, out), Reason.STALE_MARK),
        "other wire": (Packet(Hook.FROM_GUEST, open_wire, out), Reason.STALE_MARK),
        "earlier": (Packet(Hook.FROM_GUEST, path, WireMark(vnic(0), Direction.EGRESS, False)), Reason.STALE_MARK),
        "round": (Packet(Hook.FROM_GUEST, path, EnteringMark()), Reason.LOOP),
        "open": (Packet(Hook.FROM_GUEST, open_wire), Reason.OPEN),
        "awaiting": (Packet(Hook.TO_GUEST, open_wire), Reason.AWAITING),
        "held": (Packet(Hook.TO_GUEST, held), Reason.HELD),
        "held, inspected": (Packet(Hook.FROM_GUEST, held, WireMark(vnic(2), Direction.EGRESS)), Reason.HELD),
        "no wire": (Packet(Hook.FROM_GUEST, wired), Reason.NO_WIRE),
        "appliance port as vnic port": (Packet(Hook.FROM_GUEST, port), Reason.NO_WIRE),
        "lane": (Packet(Hook.FROM_APPLIANCE, port, None, 1), Reason.ONWARD),
        "unknown lane": (Packet(Hook.FROM_APPLIANCE, port, None, 2), Reason.UNKNOWN_LANE),
        "no lane": (Packet(Hook.FROM_APPLIANCE, port), Reason.UNKNOWN_LANE),
        "probe": (Packet(Hook.FROM_APPLIANCE, port, None, PROBE_LANE), Reason.PROBE),
        "still marked": (Packet(Hook.FROM_APPLIANCE, port, EnteringMark(), 1), Reason.LOOP),
        "not an appliance": (Packet(Hook.FROM_APPLIANCE, path, None, 1), Reason.NO_WIRE),
        "enters": (Packet(Hook.TO_APPLIANCE, port, EnteringMark()), Reason.OURS),
        "foreign": (Packet(Hook.TO_APPLIANCE, port), Reason.NOT_OURS),
        "wire's mark": (Packet(Hook.TO_APPLIANCE, port, out), Reason.NOT_OURS),
        "into no appliance": (Packet(Hook.TO_APPLIANCE, path, EnteringMark()), Reason.NO_WIRE),
        "key": (Packet(Hook.FROM_TUNNEL, wired, ArrivedMark(), None, PEERS[0], 2), Reason.ONWARD),
        "peer": (Packet(Hook.FROM_TUNNEL, wired, ArrivedMark(), None, PEERS[1], 2), Reason.UNKNOWN_PEER),
        "unknown key": (Packet(Hook.FROM_TUNNEL, wired, ArrivedMark(), None, PEERS[0], 3), Reason.UNKNOWN_KEY),
        "beyond": (Packet(Hook.FROM_TUNNEL, wired, ArrivedMark(), None, PEERS[0], 65_538), Reason.UNKNOWN_KEY),
        "another way": (Packet(Hook.FROM_TUNNEL, wired, None, None, PEERS[0], 2), Reason.NOT_UNDERLAY),
        "arrived, at a port": (Packet(Hook.FROM_GUEST, path, ArrivedMark()), Reason.STALE_MARK),
        "marked": (Packet(Hook.FROM_TUNNEL, wired, EnteringMark(), None, PEERS[0], 2), Reason.LOOP),
        "out": (Packet(Hook.TO_TUNNEL, wired, EnteringMark()), Reason.OURS),
        "host's own": (Packet(Hook.TO_TUNNEL, wired), Reason.NOT_OURS),
    }


def test_every_branch(bench: Bench):
    table, cases = every_branch(bench)
    bench.steering.apply(table)
    kernel = {name: Reason(bench.ask(packet).reason) for name, (packet, _) in cases.items()}
    assert kernel == {name: reason for name, (_, reason) in cases.items()}
    assert {name: model.decide(packet, table).reason for name, (packet, _) in cases.items()} == kernel
    unseen = set(Reason) - set(kernel.values())
    assert unseen == {Reason.NO_STEP, Reason.FAILED}, "no table leads there: an unfilled record; a kernel out of memory"


def test_a_word_that_names_an_unfilled_record_passes_nothing(bench: Bench):
    table, _ = every_branch(bench)
    bench.steering.apply(table)
    ports, wire = bench.steering._tables.ports, bench.wires[0]
    word = ports.load(wire)
    ports.store(wire, word & ~layout.PORT_PATH.put(layout.PORT_PATH.limit - 1) | layout.PORT_PATH.put(200))
    assert bench.ask(Packet(Hook.FROM_GUEST, wire)).reason == "no-step"
    ports.store(wire, word | layout.PORT_PATH.put(layout.PORT_PATH.limit - 1))
    assert bench.ask(Packet(Hook.FROM_GUEST, wire)).reason == "no-step"
    ports.store(wire, word)


def test_asking_changes_nothing(bench: Bench):
    table, cases = every_branch(bench)
    bench.steering.apply(table)
    before = bench.steering.drops(), [bench.steering.wire_counters(vnic(number)) for number in range(3)]
    for packet, _ in cases.values():
        bench.ask(packet)
    assert before == (bench.steering.drops(), [bench.steering.wire_counters(vnic(number)) for number in range(3)])
    assert not any(bench.steering.announced(vnic(number)) for number in range(3))


def test_gso_buffers_count_as_the_frames_they_become(bench: Bench):
    """A guest's TSO buffer has gso_size and no gso_segs; ten segments are ten frames, and one more byte eleven."""
    table, _ = every_branch(bench)
    bench.steering.apply(table)
    held = bench.wires[2]
    for payload, segments, tags in ((1460, 10, 0), (1461, 11, 0), (1, 1, 0), (1460, 10, 1), (1460, 10, 2)):
        before = bench.steering.wire_counters(vnic(2)).frames("held_egress")
        run_gso(bench, held, tcp_frame(payload, tags), 146)
        assert bench.steering.wire_counters(vnic(2)).frames("held_egress") - before == segments


def tcp_frame(payload: int, tags: int) -> bytes:
    header = bytes([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
    tcp = bytes(12) + bytes([5 << 4, 0, 0, 0, 0, 0, 0, 0])
    plain = frame(
        "02:00:00:00:01:01", "02:00:00:00:01:02", header + tcp + bytes(payload), *range(5, 5 + tags), kind=0x0800
    )
    return plain[: 14 + 4 * tags + 40 + payload]


def run_gso(bench: Bench, ifindex: int, data: bytes, gso_size: int) -> None:
    import struct

    from outrider.steering import syscall

    context = bytearray(192)
    struct.pack_into("<I", context, 40, ifindex)
    struct.pack_into("<I", context, 176, gso_size)
    syscall.test_run(bench.steering._tables.program_fds["or_from_guest"], data, bytes(context))


def test_random_is_not_needed_for_trace_words(bench: Bench):
    """A packet whose cb[] is full of other layers' leftovers is decided and counted, never taken for a question."""
    import struct

    from outrider.steering import syscall

    table, _ = every_branch(bench)
    bench.steering.apply(table)
    before = bench.steering.wire_counters(vnic(2)).frames("held_egress")
    context = bytearray(192)
    struct.pack_into("<I", context, 40, bench.wires[2])
    context[48:68] = random.Random(1).randbytes(20)
    syscall.test_run(bench.steering._tables.program_fds["or_from_guest"], PLAIN, bytes(context))
    assert bench.steering.wire_counters(vnic(2)).frames("held_egress") == before + 1
