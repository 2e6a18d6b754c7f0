"""A small world for the planner: servers that do what they are told, at once or not at all."""

from dataclasses import dataclass, field
from uuid import UUID

from outrider.domain.appliance import ApplianceClass, ApplianceFormat, ApplianceState
from outrider.domain.guest import GuestState, VnicId
from outrider.domain.intent import ServerIntent
from outrider.domain.labels import Selector
from outrider.domain.observation import (
    ApplianceObservation,
    GuestObservation,
    ServerObservation,
    ServiceObservation,
    VnicObservation,
    WireObservation,
)
from outrider.domain.policy import SecurityPolicy
from outrider.planning.cluster import ClusterState, ServerView
from outrider.planning.ledger import Ledger
from outrider.planning.plan import Plan, plan

IPS = ApplianceClass("suricata-ips", ("ips",), "suricata-ips", ApplianceFormat.VM)
WEB_TIER = SecurityPolicy("web-tier", ("ips",), Selector.from_match_labels({"tier": "web"}))


def uuid_of(name: str) -> str:
    """A stable identity for a guest's name."""
    return str(UUID(int=int.from_bytes(name.encode()[-12:], "big")))


def vnic_of(name: str) -> VnicId:
    """The one vnic of a guest."""
    return VnicId(uuid_of(name), "52:54:00:00:00:01")


@dataclass
class World:
    """``guests`` maps (guest, server) to its state there; ``stuck`` appliances never become ready."""

    servers: tuple[str, ...] = ("s1", "s2", "s3")
    policies: tuple[SecurityPolicy, ...] = (WEB_TIER,)
    classes: dict[str, ApplianceClass] = field(default_factory=lambda: {IPS.name: IPS})
    labels: dict[str, str] = field(default_factory=lambda: {"tier": "web"})
    slots: int = 8
    tunnel_mtu: int = 1700
    now: float = 1000.0
    guests: dict[tuple[str, str], GuestState] = field(default_factory=dict)
    announced: set[tuple[str, str]] = field(default_factory=set)
    ready: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    deaf: set[str] = field(default_factory=set)  # servers that apply nothing now
    ledger: Ledger = field(default_factory=Ledger)
    applied: dict[str, ServerIntent] = field(default_factory=dict)
    since: dict[tuple[str, VnicId], tuple[int | None, float]] = field(default_factory=dict)
    last: Plan | None = None

    def observation(self, server: str) -> ServerObservation:
        """What ``server`` reports, being the result of the intent it last applied."""
        intent = self.applied.get(server, ServerIntent(server))
        here = {name: state for (name, at), state in self.guests.items() if at == server}
        return ServerObservation(
            server,
            f"192.0.2.{server[1:]}",
            self.tunnel_mtu,
            self.slots,
            intent.generation,
            guests=tuple(
                GuestObservation(
                    uuid_of(name), name, state, self.labels, (VnicObservation(vnic_of(name).mac, f"vnet-{name}"),)
                )
                for name, state in here.items()
            ),
            wires=tuple(self._wire(server, name, state, intent) for name, state in here.items()),
            services=tuple(ServiceObservation(service.path, service.appliance) for service in intent.services),
            appliances=tuple(
                ApplianceObservation(
                    wanted.name, wanted.appliance_class.name, self._state(wanted.name), ready_at=self.now
                )
                for wanted in intent.appliances
            ),
        )

    def _state(self, name: str) -> ApplianceState:
        if name in self.failed:
            return ApplianceState.FAILED
        return ApplianceState.READY if name in self.ready else ApplianceState.CREATING

    def _wire(self, server: str, name: str, state: GuestState, intent: ServerIntent) -> WireObservation:
        vnic = vnic_of(name)
        wanted = next((wire for wire in intent.wires if wire.vnic == vnic), None)
        active = wanted.active if wanted else None
        was, since = self.since.get((server, vnic), (-1, self.now))
        if was != active:
            since = self.now
            self.since[server, vnic] = active, since
        return WireObservation(
            vnic,
            f"vnet-{name}",
            wanted.state.value if wanted else "hold",
            tuple(path.id for path in wanted.paths) if wanted else (),
            active,
            seen_at=self.now,
            armed_at=self.now,
            running_at=self.now if state is GuestState.RUNNING else None,
            active_since=since,
            announced=(name, server) in self.announced,
        )

    def cluster(self) -> ClusterState:
        """What the planner is given."""
        views = {server: ServerView(self.observation(server)) for server in self.servers}
        return ClusterState(self.policies, self.classes, {}, {}, views, self.ledger)

    def step(self) -> Plan:
        """Plan once, then every server that is not deaf applies its intent."""
        self.last = plan(self.cluster(), self.now)
        self.ledger = self.last.ledger
        for server in self.servers:
            if server not in self.deaf:
                self.applied[server] = self.last.intents[server]
        return self.last

    def settle(self, seconds: float = 2.0) -> Plan:
        """Plan and apply until time and repetition change nothing more."""
        for _ in range(20):
            self.step()
            self.now += seconds / 20
        assert self.last is not None
        return self.last

    def make_ready(self) -> None:
        """Every appliance that was asked for proves itself."""
        self.ready |= set(self.ledger.appliances)

    def entry(self, name: str, server: str):
        """The planned wire of guest ``name`` on ``server``."""
        return next(e for e in self.ledger.wires.values() if e.wire.vnic == vnic_of(name) and e.wire.server == server)

    def covered_guest(self, name: str, server: str) -> None:
        """A guest that runs on ``server`` through a local appliance."""
        self.guests[name, server] = GuestState.RUNNING
        self.announced.add((name, server))
        self.step()
        self.make_ready()
        self.settle()
