"""What a plan is made from: the declared, the observed and the promised, as one value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from outrider.domain.appliance import ApplianceClass, ApplianceState
from outrider.domain.guest import GuestState, VnicId
from outrider.domain.labels import Labels
from outrider.domain.observation import (
    ApplianceObservation,
    GuestObservation,
    ServerObservation,
    VnicObservation,
    WireObservation,
)
from outrider.domain.policy import SecurityPolicy
from outrider.domain.ruleset import RuleSet
from outrider.domain.wire import WireId
from outrider.planning.ledger import Ledger

PRESENT = (GuestState.ARRIVING, GuestState.RUNNING, GuestState.PAUSED)


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server's last report, and whether its agent is connected now.

    An agent that is away changes nothing for the wires it serves (they are in the kernel); it only cannot be asked for
    anything new.
    """

    observation: ServerObservation
    connected: bool = True


@dataclass(frozen=True, slots=True)
class Presence:
    """One vnic present on one server: what a wire is planned for."""

    wire: WireId
    guest: GuestObservation
    vnic: VnicObservation
    labels: Labels
    applied: WireObservation | None


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The argument of ``plan``. ``guest_labels`` are those set through Outrider, by guest name or UUID."""

    policies: tuple[SecurityPolicy, ...] = ()
    classes: Mapping[str, ApplianceClass] = field(default_factory=dict)
    rulesets: Mapping[str, RuleSet] = field(default_factory=dict)
    guest_labels: Mapping[str, Labels] = field(default_factory=dict)
    servers: Mapping[str, ServerView] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    def labels_of(self, guest: GuestObservation) -> Labels:
        """The hypervisor's labels, overridden key by key by those set through Outrider (UUID over name)."""
        by_name, by_uuid = self.guest_labels.get(guest.name, {}), self.guest_labels.get(guest.uuid, {})
        return {**guest.labels, **by_name, **by_uuid}

    def presences(self) -> Iterator[Presence]:
        """Every vnic that has a steerable port somewhere, in a fixed order."""
        for name in sorted(self.servers):
            observation = self.servers[name].observation
            applied = {wire.vnic: wire for wire in observation.wires}
            for guest in sorted(observation.guests, key=lambda guest: guest.uuid):
                if guest.state not in PRESENT:
                    continue
                for vnic in guest.vnics:
                    if vnic.port is None or vnic.refused:
                        continue
                    vnic_id = VnicId(guest.uuid, vnic.mac)
                    yield Presence(WireId(name, vnic_id), guest, vnic, self.labels_of(guest), applied.get(vnic_id))

    def appliance(self, name: str) -> ApplianceObservation | None:
        """What the appliance's server last said of it."""
        entry = self.ledger.appliances.get(name)
        view = self.servers.get(entry.server) if entry else None
        if view is None:
            return None
        return next((seen for seen in view.observation.appliances if seen.name == name), None)

    def is_ready(self, name: str) -> bool:
        """True when the appliance has proved that it inspects, as far as is known."""
        seen = self.appliance(name)
        return seen is not None and seen.state is ApplianceState.READY
