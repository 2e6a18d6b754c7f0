"""Events: what is worth telling a person, derived from the difference between two looks at the cluster.

They are kept in memory, the newest ``KEPT_EVENTS`` of them: the record for auditors is elsewhere (moves in the ledger,
releases in the agents' audit logs).
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass

from outrider.domain.appliance import ApplianceState
from outrider.domain.observation import ApplianceObservation, ServerObservation
from outrider.planning.ledger import Ledger, WireEntry
from outrider.store.wakeup import Wakeup

KEPT_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """``time`` in seconds since the Unix epoch; ``type`` is Normal or Warning, as in Kubernetes."""

    sequence: int
    time: float
    type: str
    reason: str
    kind: str
    name: str
    message: str


class EventLog:
    """A bounded log that can be followed."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._wakeup = Wakeup()
        self._next = 1

    def add(self, time: float, draft: "Draft") -> None:
        """Append one event."""
        self._events.append(Event(self._next, time, draft.type, draft.reason, draft.kind, draft.name, draft.message))
        self._next += 1
        self._wakeup.ring()

    def all(self) -> tuple[Event, ...]:
        """What is kept, oldest first."""
        return tuple(self._events)

    async def follow(self) -> AsyncIterator[Event]:
        """What is kept, then what comes; a follower that falls behind the log's bound misses the oldest."""
        last = 0
        while True:
            ticket = self._wakeup.ticket()
            for event in self.all():
                if event.sequence > last:
                    last = event.sequence
                    yield event
            await ticket.wait()


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before it has a number and a time."""

    type: str
    reason: str
    kind: str
    name: str
    message: str


def events_of_plan(before: Ledger, after: Ledger) -> Iterator[Draft]:
    """What a plan changed, in words."""
    for key, entry in after.wires.items():
        yield from _events_of_wire(before.wires.get(key), entry)
    for key, entry in before.wires.items():
        if key not in after.wires:
            yield Draft("Normal", "WireRemoved", "Wire", key, f"{entry.guest_name} has left {entry.wire.server}")
    for name, appliance in after.appliances.items():
        if name not in before.appliances:
            yield Draft("Normal", "ApplianceRequested", "Appliance", name, f"requested on {appliance.server}")
    for name in before.appliances.keys() - after.appliances.keys():
        yield Draft("Normal", "ApplianceRetired", "Appliance", name, "no longer needed")
    known = {(move.vnic, move.target, move.arrival_seen): move for move in before.moves}
    for move in after.moves:
        was = known.get((move.vnic, move.target, move.arrival_seen))
        route = f"{move.guest_name}: {move.source} to {move.target}"
        if was is None:
            yield Draft("Normal", "MoveSeen", "Move", move.guest_name, f"{route}: arrival seen")
        elif move.cancelled and not was.cancelled:
            yield Draft("Normal", "MoveCancelled", "Move", move.guest_name, f"{route}: cancelled")
        elif move.is_over and not was.is_over:
            yield Draft("Normal", "MoveCompleted", "Move", move.guest_name, f"{route}: through {move.final_appliance}")


def _events_of_wire(was: WireEntry | None, now: WireEntry) -> Iterator[Draft]:
    if was is not None and (was.state, was.active, was.open_reason) == (now.state, now.active, now.open_reason):
        return
    kind = "Warning" if now.open_reason in ("fail-open", "released") else "Normal"
    path = now.active_path
    way = " → ".join(f"{hop.appliance} on {hop.server}" for hop in path.hops) if path else now.state.value
    yield Draft(kind, f"Wire{now.state.value.title()}", "Wire", str(now.wire), f"{now.guest_name}: {way}; {now.reason}")


def events_of_report(before: ServerObservation | None, after: ServerObservation) -> Iterator[Draft]:
    """What changed between two reports of one server, in words."""
    known: Mapping[str, ApplianceObservation] = {seen.name: seen for seen in before.appliances} if before else {}
    for seen in after.appliances:
        was = known.get(seen.name)
        if was is None or (was.state, was.reason) != (seen.state, seen.reason):
            kind = "Warning" if seen.state is ApplianceState.FAILED else "Normal"
            text = f"{seen.state.value}: {seen.reason}" if seen.reason else seen.state.value
            yield Draft(kind, f"Appliance{seen.state.value.title()}", "Appliance", seen.name, text)
    was_false = {c.type + c.reason for c in before.conditions if not c.status} if before else set()
    for condition in after.conditions:
        if not condition.status and condition.type + condition.reason not in was_false:
            yield Draft("Warning", f"Not{condition.type}", "Server", after.server, condition.reason)
    refused_before = set(_refusals(before)) if before else set()
    for text in _refusals(after):
        if text not in refused_before:
            yield Draft("Warning", "VnicRefused", "Server", after.server, text)


def _refusals(observation: ServerObservation) -> Iterator[str]:
    for guest in observation.guests:
        for vnic in guest.vnics:
            if vnic.refused:
                yield f"{guest.name} {vnic.mac}: {vnic.refused}"
