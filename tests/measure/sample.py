"""A made-up demo result, as rich as a real one."""

from outrider.lab.demo.result import (
    AttackTry,
    DemoResult,
    Moment,
    MoveTimes,
    PhaseResult,
    RateSeries,
    SecondGuest,
    Spot,
    Stage,
)
from outrider.lab.measure.accounting import Loss, LossKind, PhaseAccount
from outrider.lab.measure.attack import AttackAccount

OLD, NEW, OTHER = "suricata-ips-s1-1", "suricata-ips-s2-1", "suricata-ips-s3-1"


def account(name: str, sent: int, inspected_by: dict[str, int], lost: int = 0, uninspected: int = 0) -> PhaseAccount:
    losses = {Loss(LossKind.NOWHERE): lost} if lost else {}
    return PhaseAccount(name, sent, sent - lost, lost, 0, 0, uninspected, inspected_by, losses)


def sample_result(uninspected: int = 0) -> DemoResult:
    """The main job as it should go; ``uninspected`` packets in the interim phase."""
    old = tuple([100] * 32 + [100, 60, 0] + [0] * 25)
    new = tuple([0] * 32 + [0, 38, 100] + [98] * 25)
    steps = {
        "arrival_seen": 22.31,
        "armed": 22.318,
        "guest_running": 22.87,
        "appliance_requested": 22.35,
        "appliance_ready": 27.02,
        "switched": 27.11,
    }
    return DemoResult(
        format="vm",
        servers=("s1", "s2", "s3"),
        guest="web-1",
        phases=(
            PhaseResult(account("before", 2210, {OLD: 2205}, lost=6), AttackAccount(10, 0), 18.9, 22.87),
            PhaseResult(
                account("interim", 1696, {OLD: 1696}, uninspected=uninspected), AttackAccount(8, 0), 22.87, 27.11
            ),
            PhaseResult(account("after", 2555, {NEW: 2555}), AttackAccount(13, 0), 27.11, 33.9),
        ),
        moves=(
            MoveTimes("web-1", "s1", "s2", steps, OLD, NEW, 0.043),
            MoveTimes(
                "web-2",
                "s3",
                "s2",
                {"arrival_seen": 32.2, "armed": 32.21, "guest_running": 32.7, "switched": 32.71},
                None,
                NEW,
                0.038,
            ),
        ),
        second_guest=SecondGuest("web-2", account("web-2", 5980, {OTHER: 5400, NEW: 580}), AttackAccount(28, 0)),
        stages=(
            Stage(
                "before",
                (Spot("web-1", "s1", OLD, "s1"), Spot("web-2", "s3", OTHER, "s3")),
                {OLD: "s1", OTHER: "s3"},
            ),
            Stage(
                "interim",
                (Spot("web-1", "s2", OLD, "s1"), Spot("web-2", "s3", OTHER, "s3")),
                {OLD: "s1", NEW: "s2", OTHER: "s3"},
                frozenset({NEW}),
            ),
            Stage(
                "after",
                (Spot("web-1", "s2", NEW, "s2"), Spot("web-2", "s3", OTHER, "s3")),
                {OLD: "s1", NEW: "s2", OTHER: "s3"},
            ),
            Stage(
                "second guest",
                (Spot("web-1", "s2", NEW, "s2"), Spot("web-2", "s2", NEW, "s2")),
                {OLD: "s1", NEW: "s2", OTHER: "s3"},
            ),
        ),
        moments=(Moment(0.0, "a lab of 3 virtual servers comes up"), Moment(22.87, "<web-1> runs on s2", "web-1")),
        series=RateSeries(18.9, 0.25, {OLD: old, NEW: new}, tuple([0] * 60), tuple([0] * 60)),
        tries=tuple(AttackTry(19.0 + 0.5 * number, False) for number in range(30)),
        seconds=41.0,
        machine={"kernel": "6.18", "cores": "2"},
    )
