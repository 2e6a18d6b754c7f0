"""From what was found to what it means: the phases cut, the packets accounted for, the result put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from outrider.lab.demo.narration import Narrator
from outrider.lab.demo.result import (
    AttackTry,
    DemoResult,
    MoveTimes,
    PhaseResult,
    RateSeries,
    SecondGuest,
    Stage,
)
from outrider.lab.demo.watch import Row
from outrider.lab.measure.accounting import Journey, account_phase, cut_phases
from outrider.lab.measure.attack import account_attacks
from outrider.lab.measure.instruments import Findings
from outrider.lab.measure.places import Absence, find_absence

PHASES = ("before", "interim", "after")
_BIN_S = 0.25
_STEP_KEYS = {
    "arrival_seen": "arrivalSeen",
    "armed": "armed",
    "guest_running": "guestRunning",
    "appliance_requested": "applianceRequested",
    "appliance_ready": "applianceReady",
    "switched": "switched",
}


@dataclass(slots=True)
class Story:
    """What a demo has gathered so far; filled in by its acts."""

    format: str
    servers: tuple[str, ...]
    first: str
    second: str
    target: str
    macs: Mapping[str, str] = field(default_factory=dict)
    moves: dict[str, Row] = field(default_factory=dict)
    wires: dict[str, Row] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    findings: Findings | None = None
    appliances_created: int = 0

    def keep_moves(self, rows: Sequence[Row]) -> None:
        """Keep the latest move of each guest to the target."""
        self.moves.update({row["guest"]: row for row in rows if row["to"] == self.target})


def conclude(story: Story, narrator: Narrator) -> DemoResult:
    """The result of everything the story has; parts that are missing are said in ``problems``."""
    result = DemoResult(format=story.format, servers=story.servers, guest=story.first)
    found, move = story.findings, story.moves.get(story.first)
    if found is None or move is None:
        return result
    absences = _absences(story, found)
    journeys = found.journeys_of(story.first)
    return DemoResult(
        format=story.format,
        servers=story.servers,
        guest=story.first,
        phases=_phases(story, found, journeys, move, absences, narrator),
        moves=tuple(_times(row, absences, narrator) for row in story.moves.values()),
        second_guest=_second(story, found, absences),
        stages=tuple(story.stages),
        series=_series(journeys, narrator),
        tries=_tries(story, found, narrator),
        frames_before_arming=sum(row["framesBeforeArming"] for row in story.wires.values()),
        opened_frames=sum(_opened(row) for row in story.wires.values()),
        problems=tuple(_problems(found)),
    )


def _problems(found: Findings) -> list[str]:
    if found.captured.dropped:
        return [f"the captures dropped {found.captured.dropped} frames: the independent count has holes"]
    return []


def _opened(wire: Row) -> int:
    return sum(count["frames"] for name, count in wire["counters"].items() if name.startswith("opened"))


def _absences(story: Story, found: Findings) -> list[Absence]:
    away = (
        find_absence(
            found.captured, found.ports, guest, story.macs[guest], found.flows_of(guest), row["from"], row["to"]
        )
        for guest, row in story.moves.items()
    )
    return [absence for absence in away if absence is not None]


def _phases(
    story: Story,
    found: Findings,
    journeys: Sequence[Journey],
    move: Row,
    absences: Sequence[Absence],
    narrator: Narrator,
) -> tuple[PhaseResult, ...]:
    begin = min((journey.sent_at for journey in journeys), default=narrator.began)
    end = max((journey.sent_at for journey in journeys), default=begin)
    # A step that never came leaves all that follows in the phase before it.
    running = move["guestRunning"] or end
    cuts = (running, max(running, move["switched"] or end))
    packets = cut_phases(journeys, PHASES, cuts)
    edges = (begin, *cuts, max(end, *cuts))
    attempts = found.attempts_on(story.first)
    phases = []
    for name, first, last in zip(PHASES, edges[:-1], edges[1:], strict=True):
        tried = [attempt for attempt in attempts if _phase_of(attempt.at, cuts) == name]
        phases.append(
            PhaseResult(
                account_phase(name, packets[name], absences),
                account_attacks(tried, found.attacks_delivered),
                narrator.since(first),
                narrator.since(last),
            )
        )
    return tuple(phases)


def _phase_of(at: float, cuts: Sequence[float]) -> str:
    return PHASES[sum(1 for cut in cuts if at >= cut)]


def _times(row: Row, absences: Sequence[Absence], narrator: Narrator) -> MoveTimes:
    steps = {step: narrator.since(row[key]) for step, key in _STEP_KEYS.items() if row[key] is not None}
    away = next((absence.end - absence.begin for absence in absences if absence.guest == row["guest"]), None)
    return MoveTimes(row["guest"], row["from"], row["to"], steps, row["interimAppliance"], row["finalAppliance"], away)


def _second(story: Story, found: Findings, absences: Sequence[Absence]) -> SecondGuest:
    account = account_phase(story.second, found.journeys_of(story.second), absences)
    attacks = account_attacks(found.attempts_on(story.second), found.attacks_delivered)
    return SecondGuest(story.second, account, attacks, story.appliances_created)


def _tries(story: Story, found: Findings, narrator: Narrator) -> tuple[AttackTry, ...]:
    delivered = found.attacks_delivered
    return tuple(
        AttackTry(narrator.since(attempt.at), attempt.answered or attempt.number in delivered)
        for attempt in found.attempts_on(story.first)
        if attempt.counts
    )


def _series(journeys: Sequence[Journey], narrator: Narrator) -> RateSeries:
    if not journeys:
        return RateSeries()
    begin = min(journey.sent_at for journey in journeys)
    count = 1 + int((max(journey.sent_at for journey in journeys) - begin) / _BIN_S)
    names = sorted({name for journey in journeys for name in journey.inspectors})
    by_appliance = {name: [0] * count for name in names}
    uninspected, lost = [0] * count, [0] * count
    for journey in journeys:
        place = int((journey.sent_at - begin) / _BIN_S)
        for name in journey.inspectors:
            by_appliance[name][place] += 1
        uninspected[place] += journey.uninspected
        lost[place] += not journey.received_at
    return RateSeries(
        narrator.since(begin),
        _BIN_S,
        {name: tuple(bins) for name, bins in by_appliance.items()},
        tuple(uninspected),
        tuple(lost),
    )
