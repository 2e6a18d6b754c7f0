"""What the programs decide of a packet: a pure model of ``decide`` (steering/bpf/decide.h), in the words of the table.

It exists to be compared with: random packets over random tables must get the same verdict from the kernel and from
here, and a simulator can walk a packet through many servers without a kernel. Where the programs compare bits, the
model compares meanings: a mark says for which wire, incarnation and direction it was set.
"""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from outrider.domain.guest import VnicId
from outrider.domain.wire import PROBE_LANE, Direction, WireState
from outrider.pipeline.table import SteeringTable, Step, WireRow


class Hook(StrEnum):
    """Where a packet meets us, and on which of the kernel's tc hooks that is."""

    FROM_GUEST = "from guest"  # tc ingress of a vnic port
    TO_GUEST = "to guest"  # tc egress of a vnic port
    FROM_APPLIANCE = "from appliance"  # tc ingress of an inport or outport
    TO_APPLIANCE = "to appliance"  # tc egress of an inport or outport
    FROM_TUNNEL = "from tunnel"  # tc ingress of the tunnel device
    TO_TUNNEL = "to tunnel"  # tc egress of the tunnel device


class Reason(StrEnum):
    """Why a packet fares as it does. The first four pass or go on, the others are drops."""

    MARKED = "marked"
    OPEN = "open"
    ONWARD = "onward"
    OURS = "ours"
    NO_WIRE = "no-wire"
    HELD = "held"
    AWAITING = "awaiting"
    STALE_MARK = "stale-mark"
    LOOP = "loop"
    NO_STEP = "no-step"
    NOT_OURS = "not-ours"
    UNKNOWN_LANE = "unknown-lane"
    PROBE = "probe"
    UNKNOWN_KEY = "unknown-key"
    UNKNOWN_PEER = "unknown-peer"
    FAILED = "failed"
    NOT_UNDERLAY = "not-underlay"


_PASSES = frozenset({Reason.MARKED, Reason.OPEN, Reason.OURS})


@dataclass(frozen=True, slots=True)
class WireMark:
    """Set by the final hop's program: inspected, for this wire and direction. ``is_current`` is false when it was
    set for an earlier incarnation of the port."""

    vnic: VnicId
    direction: Direction
    is_current: bool = True


@dataclass(frozen=True, slots=True)
class EnteringMark:
    """Set by our programs (and the prover) on a frame that goes into an appliance or the tunnel."""


@dataclass(frozen=True, slots=True)
class ArrivedMark:
    """Set by the underlay's program on what came by the underlay to the tunnel. (Where no underlay is guarded, the
    programs also take packets without it; the model is of the guarded case.)"""


Mark = WireMark | EnteringMark | ArrivedMark


@dataclass(frozen=True, slots=True)
class Packet:
    """What a decision may depend on. ``lane`` is the outermost 802.1Q VLAN id, None without one; ``sender`` and
    ``tunnel_id`` (IPv4 address and VXLAN identifier) belong to what arrives through the tunnel."""

    hook: Hook
    ifindex: int
    mark: Mark | None = None
    lane: int | None = None
    sender: str | None = None
    tunnel_id: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` says whether the packet passes, goes one step further (``step``, of path ``path``) or is dropped."""

    reason: Reason
    step: Step | None = None
    path: int | None = None

    @property
    def is_pass(self) -> bool:
        """True when the packet goes on to the next program and the stack, out of our hands."""
        return self.reason in _PASSES

    @property
    def is_drop(self) -> bool:
        """True when the packet ends here."""
        return not self.is_pass and self.reason is not Reason.ONWARD


def decide(packet: Packet, table: SteeringTable, announced: Set[VnicId] = frozenset()) -> Verdict:
    """What becomes of ``packet`` under ``table``; ``announced`` are the vnics whose guest has sent from here."""
    match packet.hook:
        case Hook.FROM_GUEST:
            return _on_vnic_port(packet, table, announced, Direction.EGRESS)
        case Hook.TO_GUEST:
            return _on_vnic_port(packet, table, announced, Direction.INGRESS)
        case Hook.FROM_APPLIANCE:
            return _from_appliance(packet, table)
        case Hook.TO_APPLIANCE if not _is_appliance_port(packet.ifindex, table):
            return Verdict(Reason.NO_WIRE)
        case Hook.TO_APPLIANCE | Hook.TO_TUNNEL:
            return Verdict(Reason.OURS if isinstance(packet.mark, EnteringMark) else Reason.NOT_OURS)
        case Hook.FROM_TUNNEL:
            return _from_tunnel(packet, table)


def _on_vnic_port(packet: Packet, table: SteeringTable, announced: Set[VnicId], direction: Direction) -> Verdict:
    wire = next((row for row in table.wires if row.ifindex == packet.ifindex), None)
    if wire is None:
        return Verdict(Reason.NO_WIRE)
    is_awaiting = direction is Direction.INGRESS and wire.await_announcement and wire.vnic not in announced
    refusal = _mark_refusal(packet.mark, wire, direction) or _wire_refusal(wire, is_awaiting)
    if refusal:
        return Verdict(refusal)
    if packet.mark is not None:
        return Verdict(Reason.MARKED)
    if wire.state is WireState.OPEN:
        return Verdict(Reason.OPEN)
    return _first_step(wire, table, direction)


def _mark_refusal(mark: Mark | None, wire: WireRow, direction: Direction) -> Reason | None:
    if isinstance(mark, EnteringMark):
        return Reason.LOOP
    if mark is not None and mark != WireMark(wire.vnic, direction):
        return Reason.STALE_MARK
    return None


def _wire_refusal(wire: WireRow, is_awaiting: bool) -> Reason | None:
    if wire.state is WireState.HOLD:
        return Reason.HELD
    return Reason.AWAITING if is_awaiting else None


def _first_step(wire: WireRow, table: SteeringTable, direction: Direction) -> Verdict:
    path = next((row for row in table.paths if row.id == wire.active), None)
    if path is None:
        return Verdict(Reason.NO_STEP)
    return Verdict(Reason.ONWARD, path.first(direction), path.id)


def _is_appliance_port(ifindex: int, table: SteeringTable) -> bool:
    return any(port.ifindex == ifindex for port in table.appliance_ports)


def _from_appliance(packet: Packet, table: SteeringTable) -> Verdict:
    if not _is_appliance_port(packet.ifindex, table):
        return Verdict(Reason.NO_WIRE)
    if packet.mark is not None:
        return Verdict(Reason.LOOP)
    if packet.lane == PROBE_LANE:
        return Verdict(Reason.PROBE)
    for row in table.lanes:
        if (row.ifindex, row.lane) == (packet.ifindex, packet.lane):
            return Verdict(Reason.ONWARD, row.step, row.path)
    return Verdict(Reason.UNKNOWN_LANE)


def _from_tunnel(packet: Packet, table: SteeringTable) -> Verdict:
    if not isinstance(packet.mark, ArrivedMark):
        return Verdict(Reason.NOT_UNDERLAY if packet.mark is None else Reason.LOOP)
    row = next((row for row in table.keys if row.tunnel_id == packet.tunnel_id), None)
    if row is None:
        return Verdict(Reason.UNKNOWN_KEY)
    if row.sender != packet.sender:
        return Verdict(Reason.UNKNOWN_PEER)
    return Verdict(Reason.ONWARD, row.step, row.path)
