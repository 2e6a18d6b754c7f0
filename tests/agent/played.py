"""A server played by the test: every adapter of the agent as a plain object that remembers what it was told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from outrider.domain.guest import GuestState, VnicId
from outrider.domain.intent import ApplianceIntent
from outrider.domain.observation import (
    ApplianceObservation,
    Condition,
    Count,
    GuestObservation,
    PortObservation,
    VnicObservation,
    WireCounters,
)
from outrider.pipeline.table import SteeringTable

VNIC = VnicId("0d6b1c0e-0000-4000-8000-000000000001", "52:54:00:00:00:01")
UNDERLAY = PortObservation("und0", 2, "02:00:00:00:00:02", 1700, "veth", True)
TAP = PortObservation("vnet0", 7, "fe:54:00:00:00:01", 1500, "tun", True)


def guest(state: GuestState = GuestState.RUNNING, port: str | None = "vnet0", refused: str | None = None):
    """The guest web-1 with one vnic."""
    vnic = VnicObservation(VNIC.mac, port, refused)
    return GuestObservation(VNIC.guest, "web-1", state, {"tier": "web"}, (vnic,))


class PlayedRefusal(Exception):
    """A port that cannot be steered."""


@dataclass
class PlayedLinks:
    ports: list[PortObservation] = field(default_factory=lambda: [UNDERLAY])
    on_port: Callable[[PortObservation], None] | None = None

    async def start(self, on_change: Callable[[], None], on_port: Callable[[PortObservation], None]) -> None:
        self.on_port = on_port

    async def stop(self) -> None:
        self.on_port = None

    def snapshot(self) -> Sequence[PortObservation]:
        return list(self.ports)

    def ensure_tunnel(self, name: str, udp_port: int, mtu: int) -> int:
        return 99


@dataclass
class PlayedHypervisor:
    guests: list[GuestObservation] = field(default_factory=list)
    has_looked: bool = True

    async def start(self, on_change: Callable[[], None]) -> None:
        return

    async def stop(self) -> None:
        return

    def snapshot(self) -> Sequence[GuestObservation]:
        return list(self.guests)

    def announce(self, description: str) -> GuestObservation:
        if description != "<domain/>":
            raise ValueError("domain description is not XML")
        announced = guest(GuestState.ARRIVING)
        self.guests = [announced]
        return announced


@dataclass
class PlayedAppliances:
    wanted: Sequence[ApplianceIntent] = ()
    seen: list[ApplianceObservation] = field(default_factory=list)
    pairs: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def start(self, on_change: Callable[[], None]) -> None:
        return

    async def stop(self) -> None:
        return

    def apply(self, wanted: Sequence[ApplianceIntent]) -> None:
        self.wanted = wanted

    def snapshot(self) -> Sequence[ApplianceObservation]:
        return list(self.seen)

    def ports(self, appliance: str) -> tuple[int, int] | None:
        return self.pairs.get(appliance)


@dataclass
class PlayedSteering:
    armed: list[int] = field(default_factory=list)
    refuse: dict[int, str] = field(default_factory=dict)
    tables: list[SteeringTable] = field(default_factory=list)
    first_egress: int = 0

    def arm(self, ifindex: int) -> None:
        if ifindex in self.refuse:
            raise PlayedRefusal(self.refuse[ifindex])
        self.armed.append(ifindex)

    def guard_appliance_ports(self, inport: int, outport: int) -> None:
        return

    def guard_tunnel(self, ifindex: int, underlay: int | None = None) -> None:
        return

    def release_port(self, ifindex: int) -> None:
        self.armed.remove(ifindex)

    def apply(self, table: SteeringTable) -> None:
        self.tables.append(table)

    def verify(self) -> Sequence[str]:
        return ()

    def wire_counters(self, vnic: VnicId) -> WireCounters:
        return WireCounters({"first_egress": Count(self.first_egress, 0)})

    def announced(self, vnic: VnicId) -> bool:
        return False

    def appliance_counters(self, ifindex: int) -> dict[str, Count]:
        return {}

    def drops(self) -> dict[str, Count]:
        return {}

    def conditions(self) -> Sequence[Condition]:
        return ()
