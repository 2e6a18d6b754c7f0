"""Observations: what one server says is so, as one whole value.

Times are seconds since the Unix epoch on the observing server's clock; ``None`` means "not yet". Counters only grow
while the thing they belong to lives.
"""

from dataclasses import dataclass, field

from outrider.domain.appliance import ApplianceState
from outrider.domain.guest import GuestState, VnicId
from outrider.domain.labels import Labels


@dataclass(frozen=True, slots=True)
class VnicObservation:
    """One vnic as the hypervisor describes it. ``port`` is the host-side interface, None where there is none.

    ``refused`` says why this port cannot be steered (a userspace switch takes its packets before tc; macvtap has no
    tc hook of its own; …); such a vnic is never reported as armed.
    """

    mac: str
    port: str | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class GuestObservation:
    """One guest as one server's hypervisor describes it now."""

    uuid: str
    name: str
    state: GuestState
    labels: Labels = field(default_factory=dict)
    vnics: tuple[VnicObservation, ...] = ()


@dataclass(frozen=True, slots=True)
class PortObservation:
    """One network interface of the server, as netlink describes it."""

    name: str
    ifindex: int
    mac: str
    mtu: int
    kind: str  # the kernel's link kind: tun, veth, bridge, vxlan, …; "" for a physical one
    up: bool
    master: str | None = None
    rx_packets: int = 0
    tx_packets: int = 0


@dataclass(frozen=True, slots=True)
class Count:
    """Frames as the wire would see them (a GSO frame counts its segments), and bytes."""

    frames: int = 0
    bytes: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.frames + other.frames, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class WireCounters:
    """What the programs counted for one wire, by name of counter (names: ``docs/reference/datapath.md``)."""

    counts: dict[str, Count] = field(default_factory=dict)

    def frames(self, name: str) -> int:
        """Frames under ``name``; 0 when never counted."""
        count = self.counts.get(name)
        return count.frames if count else 0


@dataclass(frozen=True, slots=True)
class WireObservation:
    """A wire as it is applied on this server.

    ``attached`` are the ids of paths whose returns are in place; ``active`` the one new packets take.
    ``frames_before_arming`` is the port's own ``rx_packets`` since it appeared less the programs' first-pass count
    at the moment of arming: what a guest sent before anyone looked.
    """

    vnic: VnicId
    port: str
    state: str
    attached: tuple[int, ...] = ()
    active: int | None = None
    seen_at: float | None = None
    armed_at: float | None = None
    running_at: float | None = None
    active_since: float | None = None
    announced: bool = False
    released: bool = False
    frames_before_arming: int = 0
    counters: WireCounters = field(default_factory=WireCounters)


@dataclass(frozen=True, slots=True)
class ServiceObservation:
    """A remote wire's hop that is in place here."""

    path: int
    appliance: str


@dataclass(frozen=True, slots=True)
class ApplianceObservation:
    """An appliance on this server: how far it has got and, when it failed, why."""

    name: str
    appliance_class: str
    state: ApplianceState
    reason: str = ""
    ruleset_digest: str | None = None
    requested_at: float | None = None
    ready_at: float | None = None
    attempts: int = 0
    counters: dict[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """As in Kubernetes: something true, false or unknown of a server, with a reason a person can read."""

    type: str
    status: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ServerObservation:
    """Everything one server reports. ``applied_generation`` is the intent all of this is the result of."""

    server: str
    tunnel_address: str
    tunnel_mtu: int
    appliance_slots: int
    applied_generation: int = 0
    guests: tuple[GuestObservation, ...] = ()
    wires: tuple[WireObservation, ...] = ()
    services: tuple[ServiceObservation, ...] = ()
    appliances: tuple[ApplianceObservation, ...] = ()
    conditions: tuple[Condition, ...] = ()
    drops: dict[str, Count] = field(default_factory=dict)
