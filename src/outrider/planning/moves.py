"""Moves, derived from what changed place: nothing in the data path or the decisions knows the word."""

from collections.abc import Mapping
from dataclasses import replace

from outrider.domain.move import Move
from outrider.domain.wire import WireId
from outrider.planning.cluster import ClusterState, Presence
from outrider.planning.ledger import ApplianceEntry, LastPlace, Ledger, WireEntry

KEPT_MOVES = 1000
REMEMBER_PLACE_S = 60.0  # a container's link is nowhere for a moment when it moves


def begin_moves(
    ledger: Ledger, presences: Mapping[WireId, Presence], wires: Mapping[str, WireEntry], now: float
) -> list[Move]:
    """A record for every vnic that has a wire where it had none, and has or had one elsewhere."""
    begun = []
    for wire, presence in presences.items():
        if str(wire) in ledger.wires or str(wire) not in wires:
            continue
        source = _source_of(ledger, wire)
        if source is not None:
            seen_at = presence.applied.seen_at if presence.applied and presence.applied.seen_at else now
            begun.append(Move(wire.vnic, presence.guest.name, source, wire.server, seen_at))
    return begun


def _source_of(ledger: Ledger, wire: WireId) -> str | None:
    present = [
        entry.wire.server
        for entry in ledger.wires.values()
        if entry.wire.vnic == wire.vnic and entry.wire.server != wire.server
    ]
    past = [place.server for place in ledger.last_places if place.vnic == wire.vnic and place.server != wire.server]
    return next(iter(present + past[::-1]), None)


def follow_move(
    move: Move,
    presences: Mapping[WireId, Presence],
    wires: Mapping[str, WireEntry],
    appliances: Mapping[str, ApplianceEntry],
    cluster: ClusterState,
) -> Move:
    """``move`` with what has become known since."""
    if move.is_over:
        return move
    wire = WireId(move.target, move.vnic)
    presence, entry = presences.get(wire), wires.get(str(wire))
    if presence is None or entry is None:
        return replace(move, cancelled=True) if move.guest_running is None else move
    applied = presence.applied
    if applied is None:
        return move
    move = replace(move, armed=move.armed or applied.armed_at, guest_running=move.guest_running or applied.running_at)
    move = _with_appliance(move, entry, appliances, cluster)
    if move.interim_appliance is None and not entry.settled and entry.active_path:
        move = replace(move, interim_appliance=entry.active_path.hops[-1].appliance)
    if entry.settled and entry.active == applied.active and _names(entry) == entry.wanted and applied.armed_at:
        final = entry.wanted[-1] if entry.wanted else None
        move = replace(move, switched=applied.active_since or applied.armed_at, final_appliance=final)
    return move


def _with_appliance(
    move: Move, entry: WireEntry, appliances: Mapping[str, ApplianceEntry], cluster: ClusterState
) -> Move:
    """The times of the appliance that was requested for this move (one requested before it does not count)."""
    created = [
        appliance
        for appliance in appliances.values()
        if appliance.server == move.target and appliance.requested_at >= move.arrival_seen
    ]
    if not created or entry.policy is None:
        return move
    first = min(created, key=lambda appliance: appliance.requested_at)
    seen = cluster.appliance(first.name)
    return replace(move, appliance_requested=first.requested_at, appliance_ready=seen.ready_at if seen else None)


def _names(entry: WireEntry) -> tuple[str, ...]:
    return tuple(hop.appliance for hop in entry.active_path.hops) if entry.active_path else ()


def remember_places(ledger: Ledger, wires: Mapping[str, WireEntry], now: float) -> tuple[LastPlace, ...]:
    """Where vnics were whose wires have just gone, forgetting what is older than ``REMEMBER_PLACE_S``."""
    kept = [place for place in ledger.last_places if place.at + REMEMBER_PLACE_S > now]
    gone = [
        LastPlace(entry.wire.vnic, entry.wire.server, now, _names(entry))
        for key, entry in ledger.wires.items()
        if key not in wires
    ]
    return (*kept, *gone)
