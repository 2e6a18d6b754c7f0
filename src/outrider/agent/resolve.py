"""Which network interface is which guest's vnic port: from the guests' descriptions, never from guessing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from outrider.domain.guest import VnicId
from outrider.domain.observation import GuestObservation, PortObservation, VnicObservation


@dataclass(frozen=True, slots=True)
class VnicPort:
    """A vnic's port that exists on this server."""

    vnic: VnicId
    guest: GuestObservation
    port: PortObservation


def resolve_ports(guests: Iterable[GuestObservation], ports: Mapping[str, PortObservation]) -> list[VnicPort]:
    """The ports of all steerable vnics. A port that two vnics claim is given to neither."""
    found: dict[str, list[VnicPort]] = {}
    for guest in guests:
        for vnic in guest.vnics:
            if vnic.port is not None and vnic.port in ports and not vnic.refused:
                port = ports[vnic.port]
                found.setdefault(port.name, []).append(VnicPort(VnicId(guest.uuid, vnic.mac), guest, port))
    return [claims[0] for claims in found.values() if len(claims) == 1]


def with_existing_ports(
    guests: Iterable[GuestObservation], ports: Mapping[str, PortObservation], refusals: Mapping[str, str]
) -> tuple[GuestObservation, ...]:
    """``guests`` as they are reported: ports that do not exist (yet, or any more) left out, refusals named.

    ``refusals`` says of interface names why they could not be armed.
    """
    return tuple(
        replace(guest, vnics=tuple(_as_reported(vnic, ports, refusals) for vnic in guest.vnics)) for guest in guests
    )


def _as_reported(
    vnic: VnicObservation, ports: Mapping[str, PortObservation], refusals: Mapping[str, str]
) -> VnicObservation:
    if vnic.port is None:
        return vnic
    if vnic.port not in ports:
        return replace(vnic, port=None)
    refused = vnic.refused or refusals.get(vnic.port)
    return replace(vnic, refused=refused)
