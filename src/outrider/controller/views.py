"""The cluster as rows, for people and scripts: pure functions of what the controller knows.

The keys of each kind are a contract, written down in ``outrider.api.state``.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from outrider.domain.appliance import ApplianceState
from outrider.domain.move import Move
from outrider.domain.observation import Count, WireObservation
from outrider.planning.cluster import ClusterState
from outrider.planning.ledger import WireEntry

Row = Mapping[str, Any]


def rows_of(kind: str, cluster: ClusterState) -> Sequence[Row]:
    """The rows of one kind. Raises ``KeyError`` for a kind that has none."""
    return list(_KINDS[kind](cluster))


def _servers(cluster: ClusterState) -> Iterator[Row]:
    wires = Counter(entry.wire.server for entry in cluster.ledger.wires.values())
    for name, view in sorted(cluster.servers.items()):
        seen, intent = view.observation, cluster.ledger.intents.get(name)
        yield {
            "name": name,
            "connected": view.connected,
            "tunnelAddress": seen.tunnel_address,
            "tunnelMtu": seen.tunnel_mtu,
            "guests": len(seen.guests),
            "wires": wires[name],
            "appliances": len(seen.appliances),
            "applianceSlots": seen.appliance_slots,
            "intentGeneration": intent.generation if intent else 0,
            "appliedGeneration": seen.applied_generation,
            "conditions": [{"type": c.type, "status": c.status, "reason": c.reason} for c in seen.conditions],
            "drops": _counts(seen.drops),
        }


def _guests(cluster: ClusterState) -> Iterator[Row]:
    policies = {(entry.wire.server, entry.wire.vnic.guest): entry.policy for entry in cluster.ledger.wires.values()}
    for server, view in sorted(cluster.servers.items()):
        for guest in sorted(view.observation.guests, key=lambda guest: (guest.name, guest.uuid)):
            yield {
                "name": guest.name,
                "uuid": guest.uuid,
                "server": server,
                "state": guest.state.value,
                "labels": dict(cluster.labels_of(guest)),
                "policy": policies.get((server, guest.uuid)),
                "vnics": [{"mac": vnic.mac, "port": vnic.port, "refused": vnic.refused} for vnic in guest.vnics],
            }


def _appliances(cluster: ClusterState) -> Iterator[Row]:
    wires = Counter(
        hop.appliance for entry in cluster.ledger.wires.values() if entry.active_path for hop in entry.active_path.hops
    )
    for name, entry in sorted(cluster.ledger.appliances.items()):
        seen = cluster.appliance(name)
        yield {
            "name": name,
            "class": entry.appliance_class.name,
            "server": entry.server,
            "state": seen.state.value if seen else ApplianceState.REQUESTED.value,
            "reason": seen.reason if seen else "",
            "wires": wires[name],
            "rulesetDigest": seen.ruleset_digest if seen else None,
            "requestedAt": entry.requested_at,
            "readyAt": seen.ready_at if seen else None,
            "attempts": seen.attempts if seen else 0,
            "counters": _counts(seen.counters) if seen else {},
        }


def _wires(cluster: ClusterState) -> Iterator[Row]:
    applied = {(server, wire.vnic): wire for server, view in cluster.servers.items() for wire in view.observation.wires}
    for key, entry in sorted(cluster.ledger.wires.items()):
        yield _wire(key, entry, applied.get((entry.wire.server, entry.wire.vnic)))


def _wire(key: str, entry: WireEntry, seen: WireObservation | None) -> Row:
    path = entry.active_path
    return {
        "id": key,
        "guest": entry.guest_name,
        "uuid": entry.wire.vnic.guest,
        "mac": entry.wire.vnic.mac,
        "server": entry.wire.server,
        "port": seen.port if seen else None,
        "state": "released" if seen and seen.released else entry.state.value,
        "policy": entry.policy,
        "reason": entry.reason,
        "openReason": "released" if seen and seen.released else entry.open_reason.value if entry.open_reason else None,
        "path": [
            {"appliance": hop.appliance, "server": hop.server, "lane": hop.lane, "remote": hop.is_remote}
            for hop in (path.hops if path else ())
        ],
        "applied": _is_applied(entry, seen),
        "released": seen.released if seen else False,
        "seenAt": seen.seen_at if seen else None,
        "armedAt": seen.armed_at if seen else None,
        "runningAt": seen.running_at if seen else None,
        "activeSince": seen.active_since if seen else None,
        "framesBeforeArming": seen.frames_before_arming if seen else 0,
        "counters": _counts(seen.counters.counts) if seen else {},
    }


def _is_applied(entry: WireEntry, seen: WireObservation | None) -> bool:
    """True when the server does what was planned, or what its operator has put before the plan."""
    return seen is not None and (seen.released or (seen.state, seen.active) == (entry.state.value, entry.active))


def _moves(cluster: ClusterState) -> Iterator[Row]:
    for move in cluster.ledger.moves:
        yield {
            "guest": move.guest_name,
            "vnic": str(move.vnic),
            "from": move.source,
            "to": move.target,
            "state": _state_of(move),
            "arrivalSeen": move.arrival_seen,
            "armed": move.armed,
            "guestRunning": move.guest_running,
            "applianceRequested": move.appliance_requested,
            "applianceReady": move.appliance_ready,
            "switched": move.switched,
            "interimAppliance": move.interim_appliance,
            "finalAppliance": move.final_appliance,
        }


def _state_of(move: Move) -> str:
    if move.cancelled:
        return "cancelled"
    return "done" if move.is_over else "running"


def _counts(counts: Mapping[str, Count]) -> dict[str, dict[str, int]]:
    return {name: {"frames": count.frames, "bytes": count.bytes} for name, count in counts.items()}


_KINDS: dict[str, Callable[[ClusterState], Iterator[Row]]] = {
    "servers": _servers,
    "guests": _guests,
    "appliances": _appliances,
    "wires": _wires,
    "moves": _moves,
}
