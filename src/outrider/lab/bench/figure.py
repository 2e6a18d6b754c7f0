"""What a figure is: a name and a unit that others rely on, the samples it comes from, and the goal it is held against.

Names, units and the JSON's shape are a contract with whoever compares runs from outside: new ones may come, these stay.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Condition = str | int | float
Conditions = Mapping[str, Condition]


class Summary(StrEnum):
    """Which of a figure's samples is its value, the number that a goal is about."""

    MEDIAN = "p50"
    P99 = "p99"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Goal:
    """At least or at most ``bound``, in the figure's unit. ``where``: the conditions it is set for."""

    bound: float
    at_least: bool = False
    where: Conditions = field(default_factory=dict)

    def is_met(self, value: float) -> bool:
        """True when ``value`` is as good as wanted."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


_NULL = {"appliance": "bridge-null", "format": "container"}


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of all figures of one name."""

    name: str
    unit: str
    meaning: str
    summary: Summary = Summary.MEDIAN
    goal: Goal | None = None


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "arm_ms",
            "ms",
            "a port is asked for → both its programs are attached",
            Summary.P99,
            Goal(50, where={"at_once": 1}),
        ),
        Kind("frames_before_arming", "frames", "passed a flooding guest's port unseen", Summary.TOTAL, Goal(0)),
        Kind("switch_call_ms", "ms", "handing the kernel a table that moves every wire"),
        Kind("switch_effect_ms", "ms", "first packet on the new path → last on the old", goal=Goal(1)),
        Kind("tcp_local_over_direct", "ratio", "TCP by a local appliance", goal=Goal(0.9, True, _NULL)),
        Kind("tcp_remote_over_direct", "ratio", "TCP by another server's appliance", goal=Goal(0.6, True, _NULL)),
        Kind("tcp_local_over_static", "ratio", "the same beside a hand-written chain", goal=Goal(0.97, True, _NULL)),
        Kind("tcp_remote_over_static", "ratio", "the same beside a hand-written chain", goal=Goal(0.97, True, _NULL)),
        Kind("rtt_added_us", "µs", "round trip beyond the direct one"),
        Kind("appliance_cold_ms", "ms", "an appliance is requested → it is proved to inspect"),
        Kind("handover_ms", "ms", "the local appliance is ready → the wire is switched, the old path gone"),
    )
}


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that ``share`` (0 to 1) of all samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; ``samples`` in the unit of its kind. Raises ``ValueError`` without samples."""

    name: str
    samples: tuple[float, ...]
    conditions: Conditions = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"{self.name} has no samples")

    @classmethod
    def of(cls, name: str, samples: Iterable[float], **conditions: Condition) -> "Figure":
        """As the constructor, with conditions as they are written in the rigs."""
        return cls(name, tuple(samples), conditions)

    @property
    def kind(self) -> Kind:
        """What is known of figures of this name."""
        return KINDS[self.name]

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.samples)

    @property
    def p99(self) -> float:
        """The 99th percentile; the worst sample when there are fewer than a hundred."""
        return percentile(self.samples, 0.99)

    @property
    def value(self) -> float:
        """The number that the goal is about."""
        match self.kind.summary:
            case Summary.P99:
                return self.p99
            case Summary.TOTAL:
                return sum(self.samples)
        return self.p50

    @property
    def goal(self) -> Goal | None:
        """The goal for a figure measured under these conditions."""
        goal = self.kind.goal
        if goal is None or any(self.conditions.get(key, wanted) != wanted for key, wanted in goal.where.items()):
            return None
        return goal

    def to_json(self) -> dict[str, object]:
        """The figure as it stands in the JSON file."""
        return {
            "name": self.name,
            "unit": self.kind.unit,
            "n": len(self.samples),
            "p50": round(float(self.p50), 4),
            "p99": round(float(self.p99), 4),
            "value": round(float(self.value), 4),
            "conditions": dict(self.conditions),
        }
