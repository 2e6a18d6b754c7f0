"""Every packet accounted for by its name: the arithmetic of proof (DESIGN I1 and I3), over plain values.

A *journey* is one packet: when it was sent, when it was received, and where it was seen in between. From journeys
everything else follows, and nothing is got by subtracting one counter from another:

- **uninspected**: how often it was given to a guest (or left for the fabric, or was received) more often than an
  appliance had sent it on its way in that direction. Counted as numbers, not as sets: of two copies given to a guest
  where one was inspected, one is uninspected.
- **lost**: sent and never received. The last place where it was seen says what became of it.
- **duplicated**: received more than once. **Reordered**: received after a later packet of its flow (RFC 4737's
  "reordered singleton": a sequence number smaller than the largest one received so far).

Valid for paths of one hop: with longer chains an appliance's share must be looked at hop by hop.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from outrider.domain.wire import Direction
from outrider.lab.measure.packetid import PacketId
from outrider.lab.measure.places import Absence, PlaceKind, Sighting
from outrider.lab.measure.traffic import Flow, FlowKind, Received, TrafficLog


class LossKind(StrEnum):
    """What became of a lost packet, told from where it was last seen."""

    ENGINE = "engine"  # went into an appliance and did not come out: dropped by the engine or in its queue
    NOWHERE = "nowhere"  # while the guest existed nowhere
    LATE = "late"  # went to the server the guest had left, before the fabric knew
    PORT_QUEUE = "port-queue"  # given to the guest's port, which did not pass it on (its queue, named)
    WIRE = "wire"  # reached the server but entered no appliance: held, being armed
    PATH = "path"  # left an appliance and did not get to the vnic port: lost by a switch
    FABRIC = "fabric"  # outside every server, or between sender and server


# The news that a guest has arrived is inspected like all it sends. What takes longer than this was not inspection.
NEWS_WITHIN_S = 0.3
TO_OUR_ACCOUNT = frozenset({LossKind.WIRE, LossKind.PATH})

_AFTER = {
    PlaceKind.FABRIC_IN: LossKind.WIRE,
    PlaceKind.FROM_GUEST: LossKind.WIRE,
    PlaceKind.ENTERED: LossKind.ENGINE,
    PlaceKind.STRAY: LossKind.ENGINE,
    PlaceKind.LEFT: LossKind.PATH,
    PlaceKind.TO_GUEST: LossKind.PORT_QUEUE,
    PlaceKind.FABRIC_OUT: LossKind.FABRIC,
}


@dataclass(frozen=True, slots=True)
class Loss:
    """A lost packet's end: the kind, and the server and appliance or port where it was last seen."""

    kind: LossKind
    server: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Journey:
    """One packet from its sending on; ``sightings`` in order of time, ``received_at`` one entry for each arrival."""

    packet: PacketId
    guest: str
    sent_at: float
    received_at: tuple[float, ...] = ()
    sightings: tuple[Sighting, ...] = ()

    def count(self, kind: PlaceKind) -> int:
        """How often it was seen at places of this kind."""
        return sum(1 for sighting in self.sightings if sighting.place.kind is kind)

    @property
    def uninspected(self) -> int:
        """Deliveries of this packet that no appliance had passed on."""
        if self.packet.direction is Direction.INGRESS:
            delivered = self.count(PlaceKind.TO_GUEST)
        else:
            delivered = self.count(PlaceKind.FABRIC_OUT)
        return max(0, max(delivered, len(self.received_at)) - self.count(PlaceKind.LEFT))

    @property
    def inspectors(self) -> frozenset[str]:
        """The appliances that sent it on its way."""
        return frozenset(one.place.name for one in self.sightings if one.place.kind is PlaceKind.LEFT)


@dataclass(frozen=True, slots=True)
class PhaseAccount:
    """A phase in numbers. ``lost`` is the sum of ``losses``; ``inspected_by`` counts packets by appliance."""

    name: str
    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    uninspected: int = 0
    inspected_by: Mapping[str, int] = field(default_factory=dict)
    losses: Mapping[Loss, int] = field(default_factory=dict)

    @property
    def lost_to_us(self) -> int:
        """Packets lost to arming or to a switch: what the product answers for."""
        return sum(count for loss, count in self.losses.items() if loss.kind in TO_OUR_ACCOUNT)


def assemble_journeys(
    flows: Sequence[Flow], client: TrafficLog, peers: TrafficLog, sightings: Iterable[Sighting]
) -> list[Journey]:
    """One journey for each packet that was sent.

    An echo request is received when the guest's kernel has answered it, and its answer was sent when it was first
    seen at a vnic port: a VM guest keeps no list of its own, but it does not answer what it did not get.
    """
    by_packet: defaultdict[PacketId, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        by_packet[sighting.packet].append(sighting)
    for seen in by_packet.values():
        seen.sort(key=lambda one: one.at)
    arrived = _times((*client.received, *peers.received))
    flow_of = {flow.number: flow for flow in flows}
    journeys = []
    for sent in (*client.sent, *peers.sent):
        flow = flow_of[sent.packet.flow]
        if flow.kind is FlowKind.ECHO:
            journeys += _echo_journeys(flow, sent.packet, sent.at, by_packet, arrived)
        else:
            seen = by_packet.get(sent.packet, [])
            journeys.append(Journey(sent.packet, flow.guest, sent.at, arrived.get(sent.packet, ()), tuple(seen)))
    return journeys


def _times(received: Iterable[Received]) -> dict[PacketId, tuple[float, ...]]:
    times: defaultdict[PacketId, list[float]] = defaultdict(list)
    for one in received:
        times[one.packet].append(one.at)
    return {packet: tuple(all_times) for packet, all_times in times.items()}


def _echo_journeys(
    flow: Flow,
    request: PacketId,
    sent_at: float,
    by_packet: Mapping[PacketId, Sequence[Sighting]],
    arrived: Mapping[PacketId, tuple[float, ...]],
) -> list[Journey]:
    answer = PacketId(request.flow, request.sequence, Direction.EGRESS)
    way_in, way_out = tuple(by_packet.get(request, ())), tuple(by_packet.get(answer, ()))
    answers = arrived.get(answer, ())
    answered_at = min((*answers, *(one.at for one in way_out)), default=None)
    if answered_at is None:
        return [Journey(request, flow.guest, sent_at, (), way_in)]
    given = tuple(one.at for one in way_in if one.place.kind is PlaceKind.TO_GUEST)
    return [
        Journey(request, flow.guest, sent_at, given or (answered_at,), way_in),
        Journey(answer, flow.guest, answered_at, answers, way_out),
    ]


def locate_loss(journey: Journey, absences: Iterable[Absence]) -> Loss:
    """Where and why a packet that was never received ended."""
    last = journey.sightings[-1] if journey.sightings else None
    at = last.at if last else journey.sent_at
    kind = _AFTER[last.place.kind] if last else LossKind.FABRIC
    own = [absence for absence in absences if absence.guest == journey.guest]
    # An engine's drop is an engine's drop at any time. The rest of the way ends at the guest: where there is none,
    # nothing could have been delivered.
    if kind is not LossKind.ENGINE and any(a.covers(at) or a.covers(journey.sent_at) for a in own):
        return Loss(LossKind.NOWHERE)
    if last and kind in TO_OUR_ACCOUNT and any(_went_to_the_old_place(journey, last, a) for a in own):
        return Loss(LossKind.LATE, last.place.server)
    return Loss(kind, last.place.server, last.place.name) if last else Loss(kind)


def _went_to_the_old_place(journey: Journey, last: Sighting, absence: Absence) -> bool:
    is_news_prompt = absence.known - absence.end <= NEWS_WITHIN_S
    is_in_time = absence.begin <= journey.sent_at <= absence.known
    return is_news_prompt and is_in_time and last.place.server == absence.source


def count_reordered(journeys: Iterable[Journey]) -> int:
    """Packets received after a later one of their flow and direction (RFC 4737, section 3.3)."""
    flows: defaultdict[tuple[int, Direction], list[tuple[float, int]]] = defaultdict(list)
    for journey in journeys:
        if journey.received_at:
            packet = journey.packet
            flows[packet.flow, packet.direction].append((journey.received_at[0], packet.sequence))
    reordered = 0
    for arrivals in flows.values():
        highest = -1
        for _, sequence in sorted(arrivals):
            reordered += sequence < highest
            highest = max(highest, sequence)
    return reordered


def account_phase(name: str, journeys: Sequence[Journey], absences: Sequence[Absence] = ()) -> PhaseAccount:
    """The numbers of one phase from the journeys that began in it."""
    lost = [journey for journey in journeys if not journey.received_at]
    inspected = Counter(inspector for journey in journeys for inspector in journey.inspectors)
    return PhaseAccount(
        name=name,
        sent=len(journeys),
        received=len(journeys) - len(lost),
        lost=len(lost),
        duplicated=sum(1 for journey in journeys if len(journey.received_at) > 1),
        reordered=count_reordered(journeys),
        uninspected=sum(journey.uninspected for journey in journeys),
        inspected_by=dict(sorted(inspected.items())),
        losses=dict(Counter(locate_loss(journey, absences) for journey in lost)),
    )


def cut_phases(
    journeys: Iterable[Journey], names: Sequence[str], boundaries: Sequence[float]
) -> dict[str, list[Journey]]:
    """Journeys by phase: those sent before the first boundary, between the first and the second, and so on.

    Raises ``ValueError`` unless there is one name more than boundaries, and these do not decrease.
    """
    if len(names) != len(boundaries) + 1 or list(boundaries) != sorted(boundaries):
        raise ValueError("phases need one name more than boundaries, and boundaries in order")
    phases: dict[str, list[Journey]] = {name: [] for name in names}
    for journey in journeys:
        passed = sum(1 for boundary in boundaries if journey.sent_at >= boundary)
        phases[names[passed]].append(journey)
    return phases
