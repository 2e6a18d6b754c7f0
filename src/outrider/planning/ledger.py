"""The ledger: what earlier plans have promised, and later ones must keep.

A plan is a function of what is declared and what is observed, but three things cannot be derived from those: which
lane or key was given to whom (giving it again would mix two guests' flows in one engine), which appliances were asked
for (asking again would create a second one), and when something happened. They are here, and nothing else is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from outrider.domain.appliance import ApplianceClass
from outrider.domain.guest import VnicId
from outrider.domain.intent import ServerIntent
from outrider.domain.move import Move
from outrider.domain.wire import OpenReason, Path, WireId, WireState


@dataclass(frozen=True, slots=True)
class WireEntry:
    """A wire as last planned. ``paths`` are all that must have their returns in place; ``active`` is one of them.

    ``wanted`` names the appliances, hop by hop, that the wire should end up with; ``settled`` is true when nothing
    better is on its way (no local appliance requested); ``covered`` is true once the wire has had a path.
    """

    wire: WireId
    guest_name: str
    state: WireState
    paths: tuple[Path, ...] = ()
    active: int | None = None
    policy: str | None = None
    open_reason: OpenReason | None = None
    wanted: tuple[str, ...] = ()
    settled: bool = False
    covered: bool = False
    await_announcement: bool = False
    reason: str = ""

    @property
    def active_path(self) -> Path | None:
        """The path new packets take, None when the wire holds or is open."""
        return next((path for path in self.paths if path.id == self.active), None)

    @property
    def is_pending(self) -> bool:
        """True while the wire holds although its path is known: other servers are putting their part in place."""
        return self.state is WireState.HOLD and bool(self.paths)


@dataclass(frozen=True, slots=True)
class ApplianceEntry:
    """An appliance that was asked for. ``idle_since`` is when the last wire stopped needing it."""

    name: str
    server: str
    appliance_class: ApplianceClass
    requested_at: float
    idle_since: float | None = None


@dataclass(frozen=True, slots=True)
class RestingLane:
    """A lane that was freed at ``since``: the engine may still remember flows on it."""

    appliance: str
    lane: int
    since: float


@dataclass(frozen=True, slots=True)
class LastPlace:
    """Where a vnic's wire was last seen, kept a while after it is gone: a container is nowhere during its move."""

    vnic: VnicId
    server: str
    at: float
    appliances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything a later plan must know of earlier ones."""

    wires: Mapping[str, WireEntry] = field(default_factory=dict)  # by str(WireId)
    appliances: Mapping[str, ApplianceEntry] = field(default_factory=dict)
    resting: tuple[RestingLane, ...] = ()
    last_places: tuple[LastPlace, ...] = ()
    moves: tuple[Move, ...] = ()
    intents: Mapping[str, ServerIntent] = field(default_factory=dict)
    next_path: int = 1
    next_key: int = 1
    next_serial: int = 1
