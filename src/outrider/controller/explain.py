"""``explain guest``: why the packets of a guest go the way they go, in lines a person can read."""

from collections.abc import Iterator

from outrider.domain.observation import GuestObservation
from outrider.planning.cluster import ClusterState
from outrider.planning.ledger import WireEntry


def explain_guest(cluster: ClusterState, name: str) -> list[str]:
    """Line by line for the guest of that name or UUID; empty when no server knows it."""
    return list(_lines(cluster, name))


def _lines(cluster: ClusterState, name: str) -> Iterator[str]:
    for server, view in sorted(cluster.servers.items()):
        for guest in view.observation.guests:
            if name in (guest.name, guest.uuid):
                yield f"guest {guest.name} ({guest.uuid}) is {guest.state.value} on {server}"
                yield f"  labels: {_labels(cluster, guest)}"
                yield from _policies(cluster, guest)
                yield from _vnics(cluster, server, guest)


def _labels(cluster: ClusterState, guest: GuestObservation) -> str:
    labels = cluster.labels_of(guest)
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "none"


def _policies(cluster: ClusterState, guest: GuestObservation) -> Iterator[str]:
    labels = cluster.labels_of(guest)
    selecting = [policy for policy in cluster.policies if policy.selector.matches(labels)]
    selecting.sort(key=lambda policy: (-policy.priority, policy.name))
    for place, policy in enumerate(selecting):
        verdict = "applies" if place == 0 else f"also selects it, but {selecting[0].name} comes first"
        yield f"  policy {policy.name} (priority {policy.priority}) {verdict}"
    if not selecting:
        yield f"  none of {len(cluster.policies)} policies selects it"


def _vnics(cluster: ClusterState, server: str, guest: GuestObservation) -> Iterator[str]:
    if not guest.vnics:
        yield "  it has no vnics: nothing to inspect"
    for vnic in guest.vnics:
        if vnic.refused:
            yield f"  vnic {vnic.mac}: not protected: {vnic.refused}"
            continue
        key = f"{server}/{guest.uuid}/{vnic.mac}"
        entry = cluster.ledger.wires.get(key)
        if entry is None:
            yield f"  vnic {vnic.mac}: no port on {server}"
            continue
        yield f"  vnic {vnic.mac} on port {vnic.port}: {entry.state.value}"
        yield f"    because {entry.reason}"
        yield from _path(entry)


def _path(entry: WireEntry) -> Iterator[str]:
    path = entry.active_path
    if path is None:
        return
    yield f"    path {path.id}: guest"
    for hop in path.hops:
        way = f"over the tunnel to {hop.server} (key {hop.key})" if hop.is_remote else "on this server"
        yield f"      → {hop.appliance} {way}, lane {hop.lane}"
    yield "      → fabric (the other way round towards the guest)"
    for other in entry.paths:
        if other.id != path.id:
            yield f"    path {other.id} is also attached, until the handover is complete"
