"""The accounting is asked about worlds whose truth is known: what was lost, where, and what nobody inspected."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.domain.wire import Direction
from outrider.lab.measure.accounting import (
    Journey,
    Loss,
    LossKind,
    account_phase,
    assemble_journeys,
    count_reordered,
    cut_phases,
    locate_loss,
)
from outrider.lab.measure.packetid import PacketId
from outrider.lab.measure.places import Absence, Place, PlaceKind, Sighting
from outrider.lab.measure.traffic import Flow, FlowKind, Received, Sent, TrafficLog

WAY_TO_GUEST = (PlaceKind.FABRIC_IN, PlaceKind.ENTERED, PlaceKind.LEFT, PlaceKind.TO_GUEST)
WAY_FROM_GUEST = (PlaceKind.FROM_GUEST, PlaceKind.ENTERED, PlaceKind.LEFT, PlaceKind.FROM_GUEST, PlaceKind.FABRIC_OUT)
ECHO = Flow(1, FlowKind.ECHO, "web-1", "192.0.2.1")

# Where a packet's way may end, and what the accounting must then say of it.
ENDS = {
    0: LossKind.FABRIC,  # seen nowhere
    1: LossKind.WIRE,  # reached the server
    2: LossKind.ENGINE,  # entered the appliance
    3: LossKind.PATH,  # left it
    4: LossKind.PORT_QUEUE,  # given to the port
}


def name_of(kind: PlaceKind) -> str:
    return "ips-1" if kind in (PlaceKind.ENTERED, PlaceKind.LEFT) else "vnet0"


def walk(packet: PacketId, way: tuple[PlaceKind, ...], begin: float) -> list[Sighting]:
    return [
        Sighting(packet, Place(kind, "s1", name_of(kind)), begin + 0.001 * step)
        for step, kind in enumerate(way, start=1)
    ]


def request(sequence: int) -> PacketId:
    return PacketId(1, sequence, Direction.INGRESS)


def answer(sequence: int) -> PacketId:
    return PacketId(1, sequence, Direction.EGRESS)


def journey(sequence: int, *way: PlaceKind, received: int = 0, sent_at: float = 10.0) -> Journey:
    arrivals = tuple(sent_at + 0.1 + 0.01 * copy for copy in range(received))
    return Journey(request(sequence), "web-1", sent_at, arrivals, tuple(walk(request(sequence), way, sent_at)))


@given(st.lists(st.one_of(st.just(None), st.sampled_from(sorted(ENDS))), max_size=40))
def test_every_lost_packet_is_found_where_it_ended_and_no_other_is_called_lost(ends: list[int | None]) -> None:
    """``None`` is a packet that went all the way and was answered; a number is how far it got."""
    sightings: list[Sighting] = []
    arrived: list[Received] = []
    for sequence, end in enumerate(ends):
        begin = float(sequence)
        sightings += walk(request(sequence), WAY_TO_GUEST[:end], begin)
        if end is None:
            sightings += walk(answer(sequence), WAY_FROM_GUEST, begin + 0.1)
            arrived.append(Received(answer(sequence), begin + 0.2))
    client = TrafficLog(tuple(Sent(request(n), float(n)) for n in range(len(ends))), tuple(arrived))
    account = account_phase("before", assemble_journeys([ECHO], client, TrafficLog(), sightings))

    truth = Counter(ENDS[end] for end in ends if end is not None)
    found: Counter[LossKind] = Counter()
    for loss, count in account.losses.items():
        found[loss.kind] += count
    answered = ends.count(None)
    assert found == truth
    assert account.lost == sum(truth.values())
    assert account.sent == len(ends) + answered  # each answer is a packet of its own
    assert account.received == 2 * answered
    assert account.uninspected == account.duplicated == account.reordered == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_uninspected_is_deliveries_beyond_what_appliances_sent(copies: list[tuple[int, int]]) -> None:
    """Each packet: how often an appliance sent it, and how often it was given to the guest."""
    journeys = [
        journey(n, *[PlaceKind.LEFT] * left, *[PlaceKind.TO_GUEST] * given, received=given)
        for n, (left, given) in enumerate(copies)
    ]
    account = account_phase("after", journeys)
    assert account.uninspected == sum(max(0, given - left) for left, given in copies)
    assert account.duplicated == sum(given > 1 for _, given in copies)
    assert account.inspected_by.get("ips-1", 0) == sum(left > 0 for left, _ in copies)


def test_a_packet_that_only_touched_the_appliances_inport_and_was_delivered_is_uninspected() -> None:
    seen = journey(0, PlaceKind.FABRIC_IN, PlaceKind.ENTERED, PlaceKind.STRAY, PlaceKind.TO_GUEST, received=1)
    assert account_phase("before", [seen]).uninspected == 1


def test_a_received_packet_that_no_capture_saw_is_uninspected() -> None:
    assert account_phase("before", [journey(0, received=1)]).uninspected == 1


def test_a_packet_that_leaves_for_the_fabric_past_the_appliance_is_uninspected_even_when_nobody_gets_it() -> None:
    sightings = walk(answer(0), (PlaceKind.FROM_GUEST, PlaceKind.FABRIC_OUT), 10.0)
    assert Journey(answer(0), "web-1", 10.0, (), tuple(sightings)).uninspected == 1


@given(st.permutations(range(12)))
def test_reordered_counts_those_that_came_after_a_later_one(order: list[int]) -> None:
    journeys = [
        Journey(request(sequence), "web-1", 0.0, (float(place),)) for place, sequence in enumerate(order, start=1)
    ]
    overtaken = sum(any(earlier > sequence for earlier in order[:place]) for place, sequence in enumerate(order))
    assert count_reordered(journeys) == overtaken


def test_what_was_sent_while_the_guest_was_nowhere_is_told_from_what_the_switch_lost() -> None:
    absence = Absence("web-1", "s1", "s2", 10.0, 11.0, known=11.0)
    during = journey(0, *WAY_TO_GUEST, sent_at=10.5)
    left_during = journey(1, *WAY_TO_GUEST[:3], sent_at=10.5)
    left_after = journey(2, *WAY_TO_GUEST[:3], sent_at=11.5)
    assert locate_loss(during, [absence]) == Loss(LossKind.NOWHERE)
    assert locate_loss(left_during, [absence]) == Loss(LossKind.NOWHERE)
    assert locate_loss(left_after, [absence]) == Loss(LossKind.PATH, "s1", "ips-1")
    assert account_phase("interim", [during, left_during, left_after], [absence]).lost_to_us == 1


def test_what_went_to_the_old_server_before_the_fabric_knew_is_late_and_only_for_as_long_as_inspection_takes() -> None:
    prompt = Absence("web-1", "s1", "s2", 10.0, 11.0, known=11.1)
    held = Absence("web-1", "s1", "s2", 10.0, 11.0, known=12.0)
    to_the_old_server = journey(0, PlaceKind.FABRIC_IN, sent_at=11.05)
    assert locate_loss(to_the_old_server, [prompt]) == Loss(LossKind.LATE, "s1")
    assert locate_loss(to_the_old_server, [held]).kind is LossKind.WIRE
    assert locate_loss(journey(1, PlaceKind.FABRIC_IN, sent_at=11.2), [prompt]).kind is LossKind.WIRE


def test_another_guests_absence_excuses_nothing() -> None:
    absence = Absence("web-2", "s1", "s2", 10.0, 11.0, known=11.0)
    assert locate_loss(journey(0, *WAY_TO_GUEST[:3], sent_at=10.5), [absence]).kind is LossKind.PATH


def test_an_engines_drop_stays_the_engines_during_an_absence() -> None:
    absence = Absence("web-1", "s1", "s2", 10.0, 11.0, known=11.0)
    lost = journey(0, *WAY_TO_GUEST[:2], sent_at=10.5)
    assert locate_loss(lost, [absence]) == Loss(LossKind.ENGINE, "s1", "ips-1")


@given(st.lists(st.floats(0, 100), max_size=40), st.lists(st.floats(0, 100), min_size=2, max_size=2).map(sorted))
def test_each_packet_is_in_exactly_one_phase_and_in_the_right_one(times: list[float], cuts: list[float]) -> None:
    journeys = [Journey(request(n), "web-1", at) for n, at in enumerate(times)]
    phases = cut_phases(journeys, ("before", "interim", "after"), cuts)
    assert sum(map(len, phases.values())) == len(times)
    assert all(one.sent_at < cuts[0] for one in phases["before"])
    assert all(cuts[0] <= one.sent_at < cuts[1] for one in phases["interim"])
    assert all(one.sent_at >= cuts[1] for one in phases["after"])


def test_phases_with_boundaries_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="in order"):
        cut_phases([], ("before", "interim", "after"), (2.0, 1.0))
