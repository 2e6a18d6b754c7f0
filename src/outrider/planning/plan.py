"""``plan(cluster, now)``: pure, total and level-triggered. Planning twice from the same state changes nothing more.

In reading order: which wires there are; where each should go and one step of its way there; which appliances that
takes; what each server is to be told; which moves that amounts to; what is worth telling a person.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from outrider.domain.guest import VnicId
from outrider.domain.intent import ApplianceIntent, Peer, ServerIntent, ServiceIntent, WireIntent
from outrider.domain.move import Move
from outrider.domain.wire import WireId, WireState
from outrider.planning.allocate import Allocator
from outrider.planning.cluster import ClusterState, Presence
from outrider.planning.handover import Handover
from outrider.planning.ledger import Ledger, WireEntry
from outrider.planning.moves import KEPT_MOVES, begin_moves, follow_move, remember_places
from outrider.planning.place import Placer, Preference
from outrider.planning.select import select_policy

RETIRE_IDLE_S = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What every server is to be told, what later plans must keep, and when time alone may change the answer."""

    intents: Mapping[str, ServerIntent]
    ledger: Ledger
    look_again_at: float | None = None


def plan(cluster: ClusterState, now: float) -> Plan:
    """One intent per known server. ``now`` is in seconds since the Unix epoch; nothing else is read."""
    return _Planner(cluster, now).run()


class _Planner:
    def __init__(self, cluster: ClusterState, now: float) -> None:
        self._cluster, self._now, self._ledger = cluster, now, cluster.ledger
        self._allocator = Allocator(cluster.ledger, now)
        self._presences = {presence.wire: presence for presence in cluster.presences()}
        self._places = Counter(wire.vnic for wire in self._presences)
        self._inspectors = self._index_inspectors()
        self._wakes: list[float] = []
        self._needed: set[str] = set()
        observations = {name: view.observation for name, view in cluster.servers.items()}
        self._handover = Handover(observations, self._allocator, self._is_live, now)

    def run(self) -> Plan:
        wires = self._plan_wires()
        self._retire_idle(wires)
        intents = {name: self._intent(name, wires) for name in sorted(self._cluster.servers)}
        ledger = self._allocator.into(
            replace(
                self._ledger,
                wires=wires,
                last_places=remember_places(self._ledger, wires, self._now),
                moves=self._moves(wires),
                intents={**self._ledger.intents, **intents},
            )
        )
        return Plan(intents, ledger, min(self._wakes, default=None))

    # -- wires

    def _plan_wires(self) -> dict[str, WireEntry]:
        wires = {key: entry for key, entry in self._ledger.wires.items() if self._is_unheard(entry.wire.server)}
        for key, entry in self._ledger.wires.items():
            if key not in wires and entry.wire not in self._presences:
                for path in entry.paths:
                    self._allocator.free(path)
        placer = Placer(self._cluster, self._allocator, self._load())
        for presence in self._presences.values():
            wires[str(presence.wire)] = self._plan_wire(presence, placer)
        return wires

    def _plan_wire(self, presence: Presence, placer: Placer) -> WireEntry:
        was = self._ledger.wires.get(str(presence.wire))
        entry = was or WireEntry(presence.wire, presence.guest.name, WireState.HOLD)
        policy = select_policy(self._cluster.policies, presence.labels)
        current = tuple(hop.appliance for hop in entry.active_path.hops) if entry.active_path else ()
        prefer = Preference(current, entry.wanted, self._knows(presence.wire))
        choice = placer.place(presence.wire.server, policy, prefer, entry.covered)
        self._needed |= choice.needed
        step = self._handover.next_step(entry, presence.applied, choice.appliances)
        if step.look_again_at is not None:
            self._wakes.append(step.look_again_at)
        on_path = step.active is not None
        state = WireState.PATH if on_path else choice.state if choice.state is WireState.OPEN else WireState.HOLD
        return replace(
            entry,
            guest_name=presence.guest.name,
            state=state,
            paths=step.paths,
            active=step.active,
            policy=policy.name if policy else None,
            open_reason=choice.open_reason if state is WireState.OPEN else None,
            wanted=tuple(appliance.name for appliance in choice.appliances),
            settled=choice.settled and not (step.active is None and choice.state is WireState.PATH),
            covered=(entry.covered or on_path) and policy is not None,
            await_announcement=self._awaits(presence, was),
            reason=choice.reason + (f"; waiting for {step.waits_for}" if step.waits_for else ""),
        )

    def _awaits(self, presence: Presence, was: WireEntry | None) -> bool:
        """DESIGN 4.3, two copies: while the vnic is present elsewhere too, its first frame here says it has come."""
        if presence.applied is not None and presence.applied.announced:
            return False
        if was is not None and not was.await_announcement:
            return False
        return self._places[presence.wire.vnic] > 1

    def _knows(self, wire: WireId) -> tuple[str, ...]:
        """The appliances that inspect this vnic elsewhere, or did until it left."""
        return tuple(name for server, name in self._inspectors[wire.vnic] if server != wire.server)

    def _index_inspectors(self) -> dict[VnicId, list[tuple[str, str]]]:
        """(server of the wire, appliance) by vnic: those on a path now first, then those that were."""
        found: dict[VnicId, list[tuple[str, str]]] = defaultdict(list)
        for entry in self._ledger.wires.values():
            if entry.active_path:
                found[entry.wire.vnic] += [(entry.wire.server, hop.appliance) for hop in entry.active_path.hops]
        for place in self._ledger.last_places:
            found[place.vnic] += [(place.server, name) for name in place.appliances]
        return found

    def _load(self) -> Counter[str]:
        """Wires per appliance, of those that are still there."""
        return Counter(
            hop.appliance
            for entry in self._ledger.wires.values()
            if entry.active_path and (entry.wire in self._presences or self._is_unheard(entry.wire.server))
            for hop in entry.active_path.hops
        )

    def _is_unheard(self, server: str) -> bool:
        """True for a server that has not reported since this controller began: what it has is left as it is."""
        return server not in self._cluster.servers

    def _is_live(self, appliance: str) -> bool:
        """May a path that exists still use ``appliance``? Yes, unless its server says that it does not inspect."""
        entry = self._allocator.appliances.get(appliance)
        if entry is None or entry.appliance_class.name not in self._cluster.classes:
            return False
        return self._is_unheard(entry.server) or self._cluster.is_ready(appliance)

    # -- appliances

    def _retire_idle(self, wires: Mapping[str, WireEntry]) -> None:
        used = {hop.appliance for entry in wires.values() for path in entry.paths for hop in path.hops}
        for name, entry in list(self._allocator.appliances.items()):
            if name in used or name in self._needed or self._is_unheard(entry.server):
                self._allocator.appliances[name] = replace(entry, idle_since=None)
                continue
            idle_since = entry.idle_since if entry.idle_since is not None else self._now
            class_gone = entry.appliance_class.name not in self._cluster.classes
            if class_gone or self._now >= idle_since + RETIRE_IDLE_S:
                del self._allocator.appliances[name]
            else:
                self._allocator.appliances[name] = replace(entry, idle_since=idle_since)
                self._wakes.append(idle_since + RETIRE_IDLE_S)

    # -- intents

    def _intent(self, server: str, wires: Mapping[str, WireEntry]) -> ServerIntent:
        was = self._ledger.intents.get(server)
        generation = was.generation if was else 0
        intent = ServerIntent(
            server,
            generation,
            wires=tuple(_wire_intent(entry) for entry in wires.values() if entry.wire.server == server),
            services=tuple(self._services(server, wires)),
            appliances=tuple(self._appliances(server)),
            peers=tuple(self._peers(server)),
        )
        return intent if intent == was else replace(intent, generation=generation + 1)

    def _services(self, server: str, wires: Mapping[str, WireEntry]) -> Iterator[ServiceIntent]:
        for entry in wires.values():
            peer = self._cluster.servers.get(entry.wire.server)
            for path in entry.paths:
                for hop in path.hops:
                    if hop.server == server and hop.key is not None:
                        address = peer.observation.tunnel_address if peer else self._known_address(server, entry)
                        yield ServiceIntent(path.id, hop.appliance, hop.lane, hop.key, entry.wire.server, address)

    def _known_address(self, server: str, entry: WireEntry) -> str:
        """The tunnel address of a server not heard of since the controller began, from what was said before."""
        was = self._ledger.intents.get(server, ServerIntent(server))
        return next((peer.tunnel_address for peer in was.peers if peer.server == entry.wire.server), "")

    def _appliances(self, server: str) -> Iterator[ApplianceIntent]:
        for entry in sorted(self._allocator.appliances.values(), key=lambda entry: entry.name):
            if entry.server == server:
                declared = self._cluster.classes.get(entry.appliance_class.name, entry.appliance_class)
                ruleset = self._cluster.rulesets.get(declared.ruleset) if declared.ruleset else None
                yield ApplianceIntent(entry.name, declared, ruleset)

    def _peers(self, server: str) -> Iterator[Peer]:
        was = self._ledger.intents.get(server, ServerIntent(server))
        known = {peer.server: peer.tunnel_address for peer in was.peers}
        known |= {name: view.observation.tunnel_address for name, view in self._cluster.servers.items()}
        return (Peer(name, known[name]) for name in sorted(known) if name != server)

    # -- moves

    def _moves(self, wires: Mapping[str, WireEntry]) -> tuple[Move, ...]:
        moves = [*self._ledger.moves, *begin_moves(self._ledger, self._presences, wires, self._now)]
        appliances = self._allocator.appliances
        return tuple(
            follow_move(move, self._presences, wires, appliances, self._cluster) for move in moves[-KEPT_MOVES:]
        )


def _wire_intent(entry: WireEntry) -> WireIntent:
    return WireIntent(
        entry.wire.vnic,
        entry.guest_name,
        entry.state,
        entry.paths,
        entry.active,
        entry.await_announcement,
        entry.open_reason,
        entry.policy,
        entry.is_pending,
        entry.reason,
    )
