"""Figures for people (a table with the goals) and for scripts (one JSON object)."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from outrider.lab.bench.figure import Figure
from outrider.lab.bench.host import BUSY_FROM_PERCENT, describe_commit, describe_host
from outrider.lab.bench.rigs import Outcome


def to_json(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """The run as ``--json`` writes it."""
    busy = max((outcome.busy_percent for outcome in outcomes), default=0.0)
    return {
        "machine": {**describe_host(), "busy_percent": round(busy, 1)},
        "commit": describe_commit(),
        "figures": [figure.to_json() for outcome in outcomes for figure in outcome.figures],
    }


def write_json(file: Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``to_json`` to ``file``. Raises ``OSError``."""
    file.write_text(json.dumps(to_json(outcomes), indent=2, ensure_ascii=False) + "\n")


def print_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    """A table of all figures, and under it what could not be measured or should not be trusted."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("figure", "conditions", "n"):
        table.add_column(title, justify="right" if title == "n" else "left", overflow="fold")
    for title in ("p50", "p99", "unit", "goal", "", "busy"):
        table.add_column(title, justify="left" if title in ("unit", "") else "right", no_wrap=True)
    for outcome in outcomes:
        for figure in outcome.figures:
            table.add_row(*_row(figure, outcome.busy_percent))
    console.print(table)
    for outcome in outcomes:
        if outcome.problem:
            console.print(f"[red]not measured[/]: {', '.join(outcome.missing)}: {outcome.problem}", highlight=False)
    if any(outcome.busy_percent >= BUSY_FROM_PERCENT for outcome in outcomes):
        console.print(
            "[yellow]Others were using this machine[/] (column busy: percent of all cores just before): "
            "measure again when it is quiet before believing a figure.",
            highlight=False,
        )


def _row(figure: Figure, busy_percent: float) -> tuple[str, ...]:
    conditions = " ".join(f"{key}={value}" for key, value in figure.conditions.items())
    goal, verdict = figure.goal, ""
    if goal:
        verdict = "[green]ok[/]" if goal.is_met(figure.value) else "[red]miss[/]"
    busy = f"{busy_percent:.0f} %"
    return (
        figure.name,
        conditions,
        str(len(figure.samples)),
        _number(figure.p50),
        _number(figure.p99),
        figure.kind.unit,
        str(goal) if goal else "",
        verdict,
        f"[yellow]{busy}[/]" if busy_percent >= BUSY_FROM_PERCENT else busy,
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
