"""How a wire gets from the path it has to the path it should have, without losing or leaking a packet.

One step at a time, each a pure function of what was promised and what was reported, so that it can be repeated, and
taken up from anywhere (as in Patroni's quorum: every intermediate state is a legal one to be in):

====  ==========================================  ==================================================================
step  promised                                    goes on when
====  ==========================================  ==================================================================
1     old active, new attached                    the servers of the new path's remote hops report its service
2     new active, old attached                    the wire's server has reported new as active for ``LINGER_S``
3     new active                                  —
====  ==========================================  ==================================================================

A new path with local hops only begins at step 2: one ``apply`` on one server installs returns before it switches.
When an appliance of the old path has failed the order is the other way round: the old path is dropped *first*, since
what comes out of a failed appliance must be marked by nobody, and the wire holds until step 2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from outrider.domain.observation import ServerObservation, WireObservation
from outrider.domain.wire import Path
from outrider.planning.allocate import Allocator, NoneLeft
from outrider.planning.ledger import ApplianceEntry, WireEntry

LINGER_S = 0.5  # far more than a packet spends in an engine's queue, an engine and a tunnel together


@dataclass(frozen=True, slots=True)
class Step:
    """The paths to attach, the one that is active, and what the wire waits for ("" when for nothing)."""

    paths: tuple[Path, ...]
    active: int | None
    waits_for: str = ""
    look_again_at: float | None = None


class Handover:
    """Takes wires one step on. ``is_live`` says whether an appliance may still be used on a path that exists."""

    def __init__(
        self,
        observations: Mapping[str, ServerObservation],
        allocator: Allocator,
        is_live: Callable[[str], bool],
        now: float,
    ) -> None:
        self._observations = observations
        self._allocator = allocator
        self._is_live = is_live
        self._now = now

    def next_step(self, entry: WireEntry, applied: WireObservation | None, wanted: tuple[ApplianceEntry, ...]) -> Step:
        """The step that follows ``entry`` towards a path through ``wanted`` (empty: towards no path)."""
        live = tuple(path for path in entry.paths if all(self._is_live(hop.appliance) for hop in path.hops))
        for path in entry.paths:
            if path not in live:
                self._allocator.free(path)
        active = next((path for path in live if path.id == entry.active), None)
        if not wanted:
            return self._without(live)
        names = tuple(appliance.name for appliance in wanted)
        target = next((path for path in live if _names(path) == names), None)
        if target is None:
            try:
                target = self._allocator.path(
                    entry.wire.server, ((appliance.name, appliance.server) for appliance in wanted)
                )
            except NoneLeft as reason:
                return Step(live, active.id if active else None, str(reason))
            live = (*live, target)
        missing = self._missing_services(target)
        if missing and target is not active:
            kept = self._only(live, {target, active})
            return Step(kept, active.id if active else None, missing)
        return self._switched(live, target, applied)

    def _switched(self, paths: tuple[Path, ...], target: Path, applied: WireObservation | None) -> Step:
        if len(paths) == 1:
            return Step(paths, target.id)
        if applied is None or applied.active != target.id or applied.active_since is None:
            return Step(paths, target.id, "the switch to be acknowledged")
        linger_until = applied.active_since + LINGER_S
        if self._now < linger_until:
            return Step(paths, target.id, "packets in flight to land", linger_until)
        return Step(self._only(paths, {target}), target.id)

    def _without(self, paths: tuple[Path, ...]) -> Step:
        for path in paths:
            self._allocator.free(path)
        return Step((), None)

    def _only(self, paths: tuple[Path, ...], kept: set[Path | None]) -> tuple[Path, ...]:
        for path in paths:
            if path not in kept:
                self._allocator.free(path)
        return tuple(path for path in paths if path in kept)

    def _missing_services(self, path: Path) -> str:
        """What is not yet in place on other servers for ``path``; "" when all is."""
        for hop in path.hops:
            if not hop.is_remote:
                continue
            seen = self._observations.get(hop.server)
            if seen is None or not any(s.path == path.id and s.appliance == hop.appliance for s in seen.services):
                return f"{hop.server} to provide {hop.appliance}"
        return ""


def _names(path: Path) -> tuple[str, ...]:
    return tuple(hop.appliance for hop in path.hops)
