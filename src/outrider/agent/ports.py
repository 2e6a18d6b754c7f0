"""What the agent needs from the world, as protocols; the adapters below satisfy them without knowing of them.

All snapshots are what was last seen, returned at once. ``on_change`` callbacks only say "look again": losing one, or
getting it twice, changes nothing, since the agent also looks every few seconds.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from outrider.domain.guest import VnicId
from outrider.domain.intent import ApplianceIntent
from outrider.domain.observation import (
    ApplianceObservation,
    Condition,
    Count,
    GuestObservation,
    PortObservation,
    WireCounters,
)
from outrider.pipeline.table import SteeringTable

OnChange = Callable[[], None]


class Links(Protocol):
    """Network interfaces of this server (netlink)."""

    async def start(self, on_change: OnChange, on_port: Callable[[PortObservation], None]) -> None:
        """Begin watching. ``on_port`` is called at once, in the event loop, for every interface that appears."""
        ...

    async def stop(self) -> None: ...

    def snapshot(self) -> Sequence[PortObservation]:
        """Every interface, with its counters, read now (a dump takes about a millisecond for a hundred)."""
        ...

    def ensure_tunnel(self, name: str, udp_port: int, mtu: int) -> int:
        """Make sure the external-mode VXLAN device exists, is up and has this MTU; return its ifindex."""
        ...


class Hypervisor(Protocol):
    """The guests of this server (libvirt, or the lab's containers)."""

    async def start(self, on_change: OnChange) -> None: ...

    async def stop(self) -> None: ...

    @property
    def has_looked(self) -> bool:
        """True once all guests have been read: until then a guest that is not in the snapshot may well be there."""
        ...

    def snapshot(self) -> Sequence[GuestObservation]: ...

    def announce(self, description: str) -> GuestObservation:
        """Take in a guest's description ahead of the hypervisor's own word (from the start hook).

        Raises ``ValueError`` when the description cannot be understood.
        """
        ...


class Appliances(Protocol):
    """The appliances of this server: created, proved and retired in the background."""

    async def start(self, on_change: OnChange) -> None:
        """Adopt what an earlier agent left running, then begin."""
        ...

    async def stop(self) -> None:
        """Stop watching. Appliances keep running: an agent's end touches no packet."""
        ...

    def apply(self, wanted: Sequence[ApplianceIntent]) -> None:
        """Create what is missing, retire what is not wanted; returns at once."""
        ...

    def snapshot(self) -> Sequence[ApplianceObservation]: ...

    def ports(self, appliance: str) -> tuple[int, int] | None:
        """(ifindex of the inport, of the outport), once they exist and are guarded by ``Steering``'s programs."""
        ...


class PortRefused(Exception):
    """A port cannot be steered; the message says why, and what would help."""


class Steering(Protocol):
    """The programs in the kernel and their tables."""

    def arm(self, ifindex: int) -> None:
        """Attach the vnic programs; until ``apply`` names the port it passes nothing. Doing it twice is harmless.

        Raises ``PortRefused`` (the steering package's own class, by the same name) when the port cannot be steered.
        """
        ...

    def guard_appliance_ports(self, inport: int, outport: int) -> None:
        """Attach the appliance programs: from now on nothing but our frames enters it, and nothing leaves unmarked."""
        ...

    def guard_tunnel(self, ifindex: int, underlay: int | None = None) -> None:
        """Only our frames leave by the tunnel; with ``underlay``, nothing is taken that came by another interface."""
        ...

    def release_port(self, ifindex: int) -> None:
        """Take our programs off a port, and nothing else."""
        ...

    def apply(self, table: SteeringTable) -> None:
        """Bring the kernel's tables to ``table`` in the order that loses nothing (returns first, removals last)."""
        ...

    def verify(self) -> Sequence[str]:
        """Re-read that every program is attached, first and alone of its kind; repair, and say what was repaired."""
        ...

    def wire_counters(self, vnic: VnicId) -> WireCounters: ...

    def announced(self, vnic: VnicId) -> bool:
        """True once the guest has sent a frame on this port."""
        ...

    def appliance_counters(self, ifindex: int) -> dict[str, Count]: ...

    def drops(self) -> dict[str, Count]:
        """Frames refused outside any wire (unknown peer, unknown lane, forged tag, …), by reason."""
        ...

    def conditions(self) -> Sequence[Condition]: ...
