"""What a demo found out, as one value: everything the summary, the JSON file and the report are drawn from.

The JSON's keys named in ``to_json`` are a contract with scripts outside: keys are added, never renamed. Times are
seconds since the demo began.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outrider.lab.measure.accounting import Loss, PhaseAccount
from outrider.lab.measure.attack import AttackAccount

STEPS = (
    "arrival_seen",
    "armed",
    "guest_running",
    "appliance_requested",
    "appliance_ready",
    "switched",
)


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline. ``guest`` is empty for what concerns the whole lab."""

    at: float
    text: str
    guest: str = ""


@dataclass(frozen=True, slots=True)
class MoveTimes:
    """A move as the product recorded it; a step that was not needed is absent from ``steps`` (keys: ``STEPS``)."""

    guest: str
    source: str
    target: str
    steps: Mapping[str, float] = field(default_factory=dict)
    interim_appliance: str | None = None
    final_appliance: str | None = None
    away_s: float | None = None  # how long no packet could have reached the guest anywhere, from the captures

    def lasted(self, first: str, last: str) -> float | None:
        """Seconds from one step to another, None when either did not happen."""
        if first not in self.steps or last not in self.steps:
            return None
        return self.steps[last] - self.steps[first]


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """One phase of the main move: its packets, its attacks, and when it was."""

    account: PhaseAccount
    attacks: AttackAccount
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class SecondGuest:
    """The guest that moves to a server which has an appliance by then."""

    guest: str
    account: PhaseAccount
    attacks: AttackAccount
    appliances_created: int = 0


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a guest was and what inspected it, for the drawing of one stage."""

    guest: str
    server: str
    appliance: str | None = None
    appliance_server: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """The lab at one time: what ran where."""

    title: str
    spots: tuple[Spot, ...]
    appliances: Mapping[str, str] = field(default_factory=dict)  # name → server
    unproven: frozenset[str] = frozenset()  # those of them that inspect nothing yet


@dataclass(frozen=True, slots=True)
class RateSeries:
    """Packets of the moving guest by time: for each appliance, how many it inspected in each ``bin_s`` seconds."""

    begin: float = 0.0
    bin_s: float = 0.25
    by_appliance: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    uninspected: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AttackTry:
    """One counted attack attempt on the moving guest, for the timeline."""

    at: float
    passed: bool


@dataclass(frozen=True, slots=True)
class DemoResult:
    """A whole demo. ``problems`` are sentences about what kept it from being conclusive; empty when it is."""

    format: str
    servers: tuple[str, ...]
    guest: str
    phases: tuple[PhaseResult, ...] = ()
    moves: tuple[MoveTimes, ...] = ()
    second_guest: SecondGuest | None = None
    stages: tuple[Stage, ...] = ()
    moments: tuple[Moment, ...] = ()
    series: RateSeries = field(default_factory=RateSeries)
    tries: tuple[AttackTry, ...] = ()
    frames_before_arming: int = 0
    opened_frames: int = 0
    seconds: float = 0.0
    machine: Mapping[str, str] = field(default_factory=dict)
    left_behind: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def accounts(self) -> tuple[PhaseAccount, ...]:
        """Everything that was counted, the second guest's packets too."""
        second = (self.second_guest.account,) if self.second_guest else ()
        return (*(phase.account for phase in self.phases), *second)

    @property
    def attack_accounts(self) -> tuple[AttackAccount, ...]:
        """Every phase's attacks, the second guest's too."""
        second = (self.second_guest.attacks,) if self.second_guest else ()
        return (*(phase.attacks for phase in self.phases), *second)

    @property
    def uninspected_total(self) -> int:
        """Deliveries that no appliance had passed on."""
        return sum(account.uninspected for account in self.accounts)

    @property
    def attacks_passed(self) -> int:
        """Attack attempts that were answered or reached a guest's port."""
        return sum(account.passed for account in self.attack_accounts)

    @property
    def lost_to_us(self) -> int:
        """Packets lost to arming or to a switch."""
        return sum(account.lost_to_us for account in self.accounts)

    @property
    def losses(self) -> dict[Loss, int]:
        """All lost packets by where they ended."""
        total: dict[Loss, int] = {}
        for account in self.accounts:
            for loss, count in account.losses.items():
                total[loss] = total.get(loss, 0) + count
        return total

    @property
    def failures(self) -> list[str]:
        """Why the demo did not show what it claims, one sentence each; empty when it did."""
        found = list(self.problems)
        if not self.phases:
            found.append("the move was not measured")
        if self.uninspected_total:
            found.append(f"{self.uninspected_total} packets were delivered without inspection")
        if self.attacks_passed:
            found.append(f"{self.attacks_passed} attacks got through")
        untried = [phase.account.name for phase in self.phases if not phase.attacks.attempts]
        if untried:
            found.append(f"no attack could be tried in phase {', '.join(untried)}")
        if self.lost_to_us:
            found.append(f"{self.lost_to_us} packets were lost to arming or to the switch")
        if self.opened_frames:
            found.append(f"the wires themselves counted {self.opened_frames} frames passed uninspected")
        if self.frames_before_arming:
            found.append(f"{self.frames_before_arming} frames were sent by guests before their ports were armed")
        if self.second_guest and self.second_guest.appliances_created:
            found.append(f"the second guest's move created {self.second_guest.appliances_created} appliances")
        if self.left_behind:
            found.append(f"{len(self.left_behind)} things were left behind on the machine")
        return found


def to_json(result: DemoResult) -> dict[str, Any]:
    """The result for ``--json``."""
    return {
        "ok": not result.failures,
        "failures": result.failures,
        "format": result.format,
        "seconds": round(result.seconds, 3),
        "phases": [
            {
                **_account_json(phase.account),
                "attack_blocked": phase.attacks.blocked,
                "attack_attempts": phase.attacks.attempts,
                "begin": round(phase.begin, 4),
                "end": round(phase.end, 4),
            }
            for phase in result.phases
        ],
        "moves": [_move_json(move) for move in result.moves],
        "second_guest": _second_json(result.second_guest),
        "uninspected_total": result.uninspected_total,
        "frames_before_arming": result.frames_before_arming,
        "opened_frames": result.opened_frames,
        "left_behind": list(result.left_behind),
        "timeline": [{"at": round(m.at, 4), "guest": m.guest, "text": m.text} for m in result.moments],
        "machine": dict(result.machine),
    }


def _account_json(account: PhaseAccount) -> dict[str, Any]:
    return {
        "name": account.name,
        "sent": account.sent,
        "received": account.received,
        "lost": account.lost,
        "duplicated": account.duplicated,
        "reordered": account.reordered,
        "uninspected": account.uninspected,
        "inspected_by": dict(account.inspected_by),
        "losses": losses_json(account.losses),
    }


def losses_json(losses: Mapping[Loss, int]) -> Sequence[dict[str, Any]]:
    """Lost packets by where they ended, most first."""
    rows = sorted(losses.items(), key=lambda item: (-item[1], item[0].kind, item[0].server, item[0].name))
    return [{"kind": loss.kind.value, "server": loss.server, "at": loss.name, "packets": n} for loss, n in rows]


def _move_json(move: MoveTimes) -> dict[str, Any]:
    steps = {step: round(move.steps[step], 4) if step in move.steps else None for step in STEPS}
    return {
        "guest": move.guest,
        "from": move.source,
        "to": move.target,
        **steps,
        "interim_appliance": move.interim_appliance,
        "final_appliance": move.final_appliance,
        "guest_away_ms": None if move.away_s is None else round(move.away_s * 1000, 1),
    }


def _second_json(second: SecondGuest | None) -> dict[str, Any] | None:
    if second is None:
        return None
    return {
        "guest": second.guest,
        "appliances_created": second.appliances_created,
        **{key: value for key, value in _account_json(second.account).items() if key != "name"},
        "attack_blocked": second.attacks.blocked,
    }
