"""Which appliances a wire should go through now, whether something better is on its way, and why.

The order of preference is the method's (DESIGN 1, steps 3 to 5): a ready appliance on the wire's server; else a ready
one elsewhere, *and* a local one is requested; else what the policy says in ``onMissing``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from outrider.domain.appliance import ApplianceClass, ApplianceState
from outrider.domain.policy import FailurePolicy, OnMissing, Placement, SecurityPolicy
from outrider.domain.wire import OpenReason, WireState
from outrider.planning.allocate import Allocator
from outrider.planning.cluster import ClusterState
from outrider.planning.ledger import ApplianceEntry

GUEST_MTU = 1500
TUNNEL_OVERHEAD = 50  # IPv4 20, UDP 8, VXLAN 8 and the inner Ethernet header 14 (RFC 7348)


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a wire should go. ``appliances`` is empty when it holds or is open.

    ``needed`` names appliances that exist or were requested for this wire, so that they are not retired as idle.
    """

    state: WireState
    appliances: tuple[ApplianceEntry, ...] = ()
    settled: bool = True
    open_reason: OpenReason | None = None
    needed: frozenset[str] = frozenset()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """What speaks for one appliance before another: names of appliances, strongest first.

    ``current`` are on the wire's active path (it does not move without need), ``pending`` on the one it is about to
    take, and ``before`` inspect, or last inspected, the same vnic elsewhere: they know its connections.
    """

    current: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _HopChoice:
    appliance: ApplianceEntry | None
    settled: bool
    needed: frozenset[str]
    reason: str


class Placer:
    """Chooses for one wire after another, keeping count of what it has given out."""

    def __init__(self, cluster: ClusterState, allocator: Allocator, load: Counter[str]) -> None:
        self._cluster = cluster
        self._allocator = allocator
        self._load = load  # wires per appliance

    def place(self, server: str, policy: SecurityPolicy | None, prefer: Preference, covered: bool) -> Choice:
        """Where a wire on ``server`` should go.

        ``covered`` says that the wire has had a path before, so that the policy's word for failure holds, not its
        word for the beginning.
        """
        if policy is None:
            return Choice(WireState.OPEN, open_reason=OpenReason.NO_POLICY, reason="no policy selects this guest")
        head = f"policy {policy.name} needs {', '.join(policy.controls)}"
        choices = [self._choose(server, control, policy, prefer) for control in policy.controls]
        needed = frozenset().union(*(choice.needed for choice in choices))
        reason = f"{head}: " + "; ".join(choice.reason for choice in choices)
        appliances = tuple(choice.appliance for choice in choices if choice.appliance)
        if len(appliances) == len(choices):
            for appliance in appliances:
                self._load[appliance.name] += appliance.name not in prefer.current
            settled = all(choice.settled for choice in choices)
            return Choice(WireState.PATH, appliances, settled, needed=needed, reason=reason)
        return self._without_path(policy, covered, needed, reason)

    def _without_path(self, policy: SecurityPolicy, covered: bool, needed: frozenset[str], reason: str) -> Choice:
        if policy.on_missing is OnMissing.ALLOW and not covered:
            reason += "; passes uninspected (onMissing: allow)"
            return Choice(WireState.OPEN, (), False, OpenReason.ALLOW, needed, reason)
        if policy.failure_policy is FailurePolicy.FAIL_OPEN and covered:
            reason += "; passes uninspected (failurePolicy: fail-open)"
            return Choice(WireState.OPEN, (), False, OpenReason.FAIL_OPEN, needed, reason)
        return Choice(WireState.HOLD, (), False, None, needed, reason + "; held until one is ready")

    def _choose(self, server: str, control: str, policy: SecurityPolicy, prefer: Preference) -> _HopChoice:
        classes = {name: cls for name, cls in self._cluster.classes.items() if control in cls.controls}
        if not classes:
            return _HopChoice(None, False, frozenset(), f"no appliance class provides {control}")
        ready = [entry for entry in self._providers(classes) if self._cluster.is_ready(entry.name)]
        local = self._best((entry for entry in ready if entry.server == server), prefer)
        if local:
            return _HopChoice(local, True, frozenset({local.name}), f"{local.name} runs on {server}")
        remote, remote_note = self._remote(server, ready, prefer)
        if policy.placement is Placement.REMOTE_OK and remote:
            return _HopChoice(remote, True, frozenset({remote.name}), f"{remote.name} on {remote.server} (remote-ok)")
        request_note, requested = self._request(server, control, classes)
        needed = frozenset({requested} if requested else ())
        if remote and policy.on_missing is OnMissing.RUN_NOW:
            note = f"interim hop through {remote.name} on {remote.server}; {request_note}"
            return _HopChoice(remote, False, needed | {remote.name}, note)
        return _HopChoice(None, False, needed, f"{remote_note}; {request_note}")

    def _providers(self, classes: Mapping[str, ApplianceClass]) -> Iterable[ApplianceEntry]:
        return (entry for entry in self._allocator.appliances.values() if entry.appliance_class.name in classes)

    def _best(self, candidates: Iterable[ApplianceEntry], prefer: Preference) -> ApplianceEntry | None:
        """The preferred one, then the least loaded, then by name. One with its rated number of wires takes no more."""
        fit = [
            entry
            for entry in candidates
            if entry.name in prefer.current or self._load[entry.name] < entry.appliance_class.rated_wires
        ]
        return min(
            fit,
            key=lambda entry: (
                entry.name not in prefer.current,
                entry.name not in prefer.pending,
                entry.name not in prefer.before,
                self._load[entry.name],
                entry.name,
            ),
            default=None,
        )

    def _remote(
        self, server: str, ready: list[ApplianceEntry], prefer: Preference
    ) -> tuple[ApplianceEntry | None, str]:
        mtu_wanted = GUEST_MTU + TUNNEL_OVERHEAD
        elsewhere = [entry for entry in ready if entry.server != server]
        if not elsewhere:
            return None, "no ready appliance anywhere"
        servers = self._cluster.servers
        if (mtu := servers[server].observation.tunnel_mtu) < mtu_wanted:
            return None, f"the underlay of {server} carries {mtu} bytes and a remote hop needs {mtu_wanted}"
        fit = [
            entry
            for entry in elsewhere
            if servers[entry.server].observation.tunnel_mtu >= mtu_wanted
            and (servers[entry.server].connected or entry.name in prefer.current)
        ]
        best = self._best(fit, prefer)
        return best, "" if best else "no ready appliance elsewhere can be reached or has room"

    def _request(self, server: str, control: str, classes: Mapping[str, ApplianceClass]) -> tuple[str, str | None]:
        """Ask for a local appliance unless that was done already. Returns (what to tell, the appliance's name)."""
        pending = sorted(
            (entry for entry in self._providers(classes) if entry.server == server),
            key=lambda entry: entry.requested_at,
        )
        waiting = [entry for entry in pending if not self._cluster.is_ready(entry.name)]
        if waiting:
            seen = self._cluster.appliance(waiting[0].name)
            return f"{waiting[0].name} is {_progress(seen.state, seen.reason) if seen else 'requested'}", waiting[
                0
            ].name
        view = self._cluster.servers[server]
        here = [entry for entry in self._allocator.appliances.values() if entry.server == server]
        if len(here) >= view.observation.appliance_slots:
            return f"{server} is full: {len(here)} of {view.observation.appliance_slots} appliances", None
        chosen = min(classes.values(), key=lambda cls: (len(cls.controls), cls.name))
        if chosen.ruleset is not None and chosen.ruleset not in self._cluster.rulesets:
            return f"class {chosen.name} needs rule set {chosen.ruleset}, which does not exist", None
        entry = self._allocator.request(server, chosen)
        return f"{entry.name} is requested", entry.name


def _progress(state: ApplianceState, reason: str) -> str:
    return f"{state.value} ({reason})" if reason else state.value
