"""Security policies: which guests need which controls, and what to do where that cannot be had at once."""

from dataclasses import dataclass, field
from enum import StrEnum

from outrider.domain.labels import Selector


class OnMissing(StrEnum):
    """What a wire does while no capable appliance runs on its server."""

    RUN_NOW = "run-now"  # an interim remote hop, while a local appliance is created
    HOLD = "hold"  # nothing passes until a path has been proved
    ALLOW = "allow"  # passes uninspected, and is counted as such


class FailurePolicy(StrEnum):
    """What a wire does when no live appliance is left for it."""

    FAIL_CLOSE = "fail-close"
    FAIL_OPEN = "fail-open"


class Placement(StrEnum):
    """Where the appliance of a wire may stand in the end."""

    LOCAL = "local"
    REMOTE_OK = "remote-ok"


class HandoverMode(StrEnum):
    """How connections change from one path to the next."""

    CUT = "cut"  # all at once


@dataclass(frozen=True, slots=True)
class Handover:
    """How a wire goes from one path to another."""

    mode: HandoverMode = HandoverMode.CUT


@dataclass(frozen=True, slots=True)
class SecurityPolicy:
    """The guests that ``selector`` matches need ``controls``, in that order (RFC 7665: a service function chain).

    Of several policies that select one guest the highest ``priority`` wins, then the name that sorts first.
    """

    name: str
    controls: tuple[str, ...]
    selector: Selector = field(default_factory=Selector)
    priority: int = 0
    on_missing: OnMissing = OnMissing.RUN_NOW
    failure_policy: FailurePolicy = FailurePolicy.FAIL_CLOSE
    placement: Placement = Placement.LOCAL
    handover: Handover = field(default_factory=Handover)
