"""What a sighting means: from "seen going out of interface oro3 of s2" to "gone into appliance suricata-ips-s2-1".

The capture writes down ports; this file knows which ports are which. The meaning of a direction at a port is fixed by
what the kernel shows there (``packetring``) and by the data path (DESIGN 4): towards the guest an appliance is entered
by its outport and left by its inport, from the guest the other way round. A packet that comes out on the wrong side
for its direction (an appliance that reflects) has been inspected by nobody and is ``STRAY``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from outrider.domain.wire import Direction
from outrider.lab.measure.capture import Captured, Port, Seen
from outrider.lab.measure.packetid import PacketId


class PlaceKind(StrEnum):
    """Where on its way a packet was seen, in the order of the way to the guest."""

    FABRIC_IN = "fabric-in"  # came to the server from the fabric
    ENTERED = "entered"  # given to an appliance
    LEFT = "left"  # sent by an appliance: inspected
    TO_GUEST = "to-guest"  # given to the guest's side of a vnic port, after every program there
    FROM_GUEST = "from-guest"  # sent by the guest, before any program (and again when re-injected)
    FABRIC_OUT = "fabric-out"  # left the server for the fabric
    STRAY = "stray"  # left an appliance on the side it had entered


class Side(StrEnum):
    """Which of an appliance's two ports."""

    IN = "inport"
    OUT = "outport"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """``name`` is the appliance's name, or the port's where there is no appliance."""

    kind: PlaceKind
    server: str
    name: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """One packet at one place. ``at`` is in seconds since the Unix epoch."""

    packet: PacketId
    place: Place
    at: float


@dataclass(frozen=True, slots=True)
class PortMap:
    """Which ports are which: appliances' by (server, name), vnic ports by how their names begin, uplinks by name."""

    appliances: Mapping[tuple[str, str], tuple[str, Side]] = field(default_factory=dict)
    vnic_prefixes: tuple[str, ...] = ("vnet", "vc")
    uplinks: frozenset[str] = frozenset()

    def is_vnic(self, port: Port) -> bool:
        """True for the host-side port of a guest."""
        return port.name.startswith(self.vnic_prefixes)

    def place_of(self, port: Port, outgoing: bool, direction: Direction) -> Place | None:
        """Where a packet of ``direction`` is when it passes ``port``; None for a port that says nothing."""
        appliance = self.appliances.get((port.server, port.name))
        if appliance is not None:
            name, side = appliance
            return Place(_at_appliance(side, outgoing, direction), port.server, name)
        if self.is_vnic(port):
            return Place(PlaceKind.TO_GUEST if outgoing else PlaceKind.FROM_GUEST, port.server, port.name)
        if port.name in self.uplinks:
            return Place(PlaceKind.FABRIC_OUT if outgoing else PlaceKind.FABRIC_IN, port.server, port.name)
        return None

    def sightings(self, seen: Iterable[Seen]) -> Iterator[Sighting]:
        """What was seen, as places, leaving out the ports that say nothing."""
        for one in seen:
            place = self.place_of(one.port, one.outgoing, one.packet.direction)
            if place is not None:
                yield Sighting(one.packet, place, one.at)

    def attacks_delivered(self, captured: Captured) -> frozenset[int]:
        """The attempts of which any frame was given to the guest's side of any vnic port."""
        return frozenset(attack.attempt for attack in captured.attacks if attack.outgoing and self.is_vnic(attack.port))


def _at_appliance(side: Side, outgoing: bool, direction: Direction) -> PlaceKind:
    entering_side = Side.IN if direction is Direction.EGRESS else Side.OUT
    if outgoing:
        return PlaceKind.ENTERED if side is entering_side else PlaceKind.STRAY
    return PlaceKind.STRAY if side is entering_side else PlaceKind.LEFT


@dataclass(frozen=True, slots=True)
class Absence:
    """The time in which a guest existed nowhere, and the moment after it until the fabric knew.

    ``begin``: the last packet it was heard to send at its port on the source; ``end``: its first frame at its port on
    the target. Both are seen before any program of ours, so that a wire which holds a guest's first frames, and with
    them the news of its arrival, does not pass for a guest that was away. ``known``: its first frame that left the
    target for the fabric, once inspected; until then the fabric sends its packets to the source.
    """

    guest: str
    source: str
    target: str
    begin: float
    end: float
    known: float

    def covers(self, at: float) -> bool:
        """True when ``at`` lies in the absence, ends included."""
        return self.begin <= at <= self.end


def find_absence(
    captured: Captured, ports: PortMap, guest: str, mac: str, flows: Collection[int], source: str, target: str
) -> Absence | None:
    """When the guest with this ``mac`` and these ``flows`` was nowhere, on its way from ``source`` to ``target``.

    None when it was not heard on both.
    """
    here = [voice for voice in captured.voices if voice.mac == mac and voice.port.server == target]
    arrived = [voice.first_at for voice in here if not voice.outgoing and ports.is_vnic(voice.port)]
    known = [voice.first_at for voice in here if voice.outgoing and voice.port.name in ports.uplinks]
    first_heard: dict[PacketId, float] = {}  # a packet is seen at its vnic port again when it comes back inspected
    for one in captured.seen:
        is_from_guest = one.packet.direction is Direction.EGRESS and not one.outgoing and one.packet.flow in flows
        if is_from_guest and one.port.server == source and ports.is_vnic(one.port):
            first_heard.setdefault(one.packet, one.at)
    if not arrived or not first_heard:
        return None
    end = min(arrived)
    begin = min(max(first_heard.values()), end)
    return Absence(guest, source, target, begin, end, max(min(known, default=end), end))
