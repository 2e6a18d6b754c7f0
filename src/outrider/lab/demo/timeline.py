"""The main move drawn against time: which appliance inspected how many packets, and when each step happened.

The areas are the packets of the moving guest, stacked by the appliance that sent them on; where one colour gives way
to the other the stream was switched. Uninspected packets would stand on top in red. Below are the attack attempts.
"""

from collections.abc import Mapping, Sequence
from html import escape

from outrider.lab.demo.result import AttackTry, MoveTimes, PhaseResult, RateSeries

_WIDTH, _HEIGHT = 1080, 330
_LEFT, _RIGHT = 58, 20
_TOP, _BOTTOM = 96, 262  # the chart's own band; step labels stand above, attacks and the axis below
_TRY_Y = 286
_AXIS_Y = 312
RED = "#d03838"

STEP_WORDS = {
    "arrival_seen": "arrival seen",
    "armed": "port armed",
    "guest_running": "runs there",
    "appliance_requested": "appliance requested",
    "appliance_ready": "appliance proved",
    "switched": "stream switched",
}


class _Scale:
    """Seconds and packets to places in the drawing."""

    def __init__(self, begin: float, end: float, most: int) -> None:
        self.begin, self.end, self.most = begin, max(end, begin + 1e-3), max(most, 1)

    def x(self, at: float) -> float:
        share = (at - self.begin) / (self.end - self.begin)
        return round(_LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, packets: float) -> float:
        return round(_BOTTOM - packets / self.most * (_BOTTOM - _TOP), 1)


def draw_timeline(
    series: RateSeries,
    phases: Sequence[PhaseResult],
    move: MoveTimes | None,
    tries: Sequence[AttackTry],
    colours: Mapping[str, str],
) -> str:
    """The SVG; ``colours`` are the appliances'."""
    bins = len(series.lost)
    stacks = [*series.by_appliance.values(), series.uninspected]
    most = max((sum(stack[place] for stack in stacks) for place in range(bins)), default=1)
    scale = _Scale(series.begin, series.begin + bins * series.bin_s, most)
    parts = [_grid(scale, series.bin_s)]
    floor = [0] * bins
    for name, counts in series.by_appliance.items():
        parts.append(_area(scale, series, floor, counts, colours.get(name, "#888"), name))
        floor = [low + more for low, more in zip(floor, counts, strict=True)]
    if any(series.uninspected):
        parts.append(_area(scale, series, floor, series.uninspected, RED, "uninspected"))
    parts += [_phase_names(scale, phases), _steps(scale, move), _attacks(scale, tries), _axis(scale)]
    return (
        f'<svg class="timeline" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Packets by inspecting appliance over time">{"".join(parts)}</svg>'
    )


def _phase_names(scale: _Scale, phases: Sequence[PhaseResult]) -> str:
    """Where a phase begins, a white line through the areas; its name stands in them where there is room."""
    parts = []
    for phase in phases:
        x1, x2 = scale.x(phase.begin), scale.x(phase.end)
        parts.append(f'<line class="phase" x1="{x1}" x2="{x1}" y1="{_TOP}" y2="{_BOTTOM}"/>')
        if x2 - x1 > 52:
            parts.append(
                f'<text class="phase-name" x="{(x1 + x2) / 2}" y="{_BOTTOM - 14}">{escape(phase.account.name)}</text>'
            )
    return "".join(parts)


def _grid(scale: _Scale, bin_s: float) -> str:
    parts = []
    for share in (0.5, 1.0):
        packets = scale.most * share
        y = scale.y(packets)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{packets / bin_s:.0f}/s</text>'
        )
    return "".join(parts)


def _area(
    scale: _Scale, series: RateSeries, floor: Sequence[int], counts: Sequence[int], colour: str, name: str
) -> str:
    """Steps, not slopes: each bin is a count of its own."""
    top, bottom = [], []
    for place, (low, more) in enumerate(zip(floor, counts, strict=True)):
        x1 = scale.x(series.begin + place * series.bin_s)
        x2 = scale.x(series.begin + (place + 1) * series.bin_s)
        top += [f"{x1},{scale.y(low + more)}", f"{x2},{scale.y(low + more)}"]
        bottom += [f"{x1},{scale.y(low)}", f"{x2},{scale.y(low)}"]
    points = " ".join(top + bottom[::-1])
    return f'<polygon points="{points}" style="fill:{escape(colour)}"><title>{escape(name)}</title></polygon>'


def _steps(scale: _Scale, move: MoveTimes | None) -> str:
    if move is None:
        return ""
    parts = []
    ordered = sorted(move.steps.items(), key=lambda item: item[1])
    for row, (step, at) in enumerate(ordered):
        x, y = scale.x(at), 14 + (len(ordered) - 1 - row) * 14
        # Labels run away from the chart's nearer edge, so that none is cut off.
        anchor, shift = ("start", 6) if x < _WIDTH * 0.7 else ("end", -6)
        words = f"{STEP_WORDS[step]} {at:.2f} s"
        parts.append(
            f'<line class="step" x1="{x}" x2="{x}" y1="{y - 4}" y2="{_BOTTOM}"/>'
            f'<circle class="step-dot" cx="{x}" cy="{y - 4}" r="3"/>'
            f'<text class="step-name" x="{x + shift}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
        )
    return "".join(parts)


def _attacks(scale: _Scale, tries: Sequence[AttackTry]) -> str:
    parts = [f'<text class="tick" x="{_LEFT - 8}" y="{_TRY_Y + 4}" text-anchor="end">attacks</text>']
    for attempt in tries:
        x, y = scale.x(attempt.at), _TRY_Y
        kind = "passed" if attempt.passed else "stopped"
        parts.append(f'<circle class="try-{kind}" cx="{x}" cy="{y}" r="4"><title>{kind}</title></circle>')
    return "".join(parts)


def _axis(scale: _Scale) -> str:
    span = scale.end - scale.begin
    step = next((size for size in (0.5, 1, 2, 5, 10, 20) if span / size <= 14), 60)
    first = int(scale.begin / step) * step
    parts = []
    at = first if first >= scale.begin else first + step
    while at <= scale.end:
        parts.append(f'<text class="tick" x="{scale.x(at)}" y="{_AXIS_Y}" text-anchor="middle">{at:g} s</text>')
        at += step
    return "".join(parts)
