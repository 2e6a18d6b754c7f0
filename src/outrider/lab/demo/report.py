"""The report: one HTML file that needs nothing else, to be read by someone who was not there.

It answers in this order: was anything not inspected; what happened, drawn; the numbers; how they were counted.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from outrider.lab.demo.result import STEPS, DemoResult, MoveTimes, losses_json
from outrider.lab.demo.timeline import STEP_WORDS, draw_timeline
from outrider.lab.demo.topology import draw_stage
from outrider.lab.measure.accounting import LossKind

APPLIANCE_COLOURS = ("#3b76d6", "#e39a1f", "#7b61c9", "#4aa3a2", "#8a8f98")
GUEST_COLOURS = ("#0d7a63", "#a3479b", "#555b66")

LOSS_WORDS = {
    LossKind.ENGINE: "went into {at} and did not come out: dropped by its engine or its queue",
    LossKind.NOWHERE: "sent while the guest ran nowhere, between its stop on one server and its start on the other",
    LossKind.LATE: "went to {server}, which the guest had just left: the news of its arrival was still being inspected",
    LossKind.PORT_QUEUE: "in the queue of the guest's port {at} on {server}",
    LossKind.WIRE: "reached {server} but was held there before inspection",
    LossKind.PATH: "left {at} inspected and was lost on its way to the guest's port",
    LossKind.FABRIC: "lost outside the servers{after}",
}

STAGE_WORDS = {
    "before": "Before the move: each guest beside its appliance",
    "interim": "Interim: the guest has moved, its packets go back for inspection",
    "after": "After: a new appliance has proved itself and has taken over",
    "second guest": "The second guest moves to where an appliance is already",
}


def loss_words(row: dict[str, Any]) -> str:
    """Where a lost packet ended, in words; ``row`` as in the JSON's ``losses``."""
    after = f", last seen leaving {row['server']}" if row["server"] else ""
    return LOSS_WORDS[LossKind(row["kind"])].format(at=row["at"], server=row["server"], after=after)


def duration_words(seconds: float | None) -> str:
    """A duration as people say it: ms below a second."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.2f} s"


def step_rows(moves: Sequence[MoveTimes]) -> list[dict[str, Any]]:
    """One row for each step of the moves: its words, and for each move its time and how long after the arrival."""
    return [
        {
            "words": STEP_WORDS[step],
            "cells": [
                None if step not in move.steps else (move.steps[step], move.lasted("arrival_seen", step))
                for move in moves
            ],
        }
        for step in STEPS
    ]


def render_report(result: DemoResult) -> str:
    """The whole HTML text."""
    environment = Environment(
        loader=PackageLoader("outrider.lab.demo"), autoescape=select_autoescape(default=True), undefined=StrictUndefined
    )
    environment.filters["duration"] = duration_words
    environment.filters["loss_words"] = loss_words
    environment.filters["thousands"] = lambda number: f"{number:,}"
    appliances = colour_names(_appliances(result), APPLIANCE_COLOURS)
    guests = colour_names(sorted({spot.guest for stage in result.stages for spot in stage.spots}), GUEST_COLOURS)
    main_move = next((move for move in result.moves if move.guest == result.guest), None)
    # Drawn by this package, with every text in them escaped.
    timeline = Markup(draw_timeline(result.series, result.phases, main_move, result.tries, appliances))
    stages = [
        (STAGE_WORDS.get(stage.title, stage.title), Markup(draw_stage(stage, result.servers, guests)))
        for stage in result.stages
    ]
    return environment.get_template("report.html.j2").render(
        result=result,
        main_move=main_move,
        timeline=timeline,
        stages=stages,
        appliance_colours=appliances,
        step_rows=step_rows(result.moves),
        losses=losses_json(result.losses),
        sent=sum(account.sent for account in result.accounts),
        received=sum(account.received for account in result.accounts),
        attempts=sum(attacks.attempts for attacks in result.attack_accounts),
    )


def _appliances(result: DemoResult) -> list[str]:
    """In the order in which they come into the story."""
    named = [name for phase in result.phases for name in sorted(phase.account.inspected_by)]
    others = sorted(result.series.by_appliance)
    return list(dict.fromkeys([*named, *others]))


def colour_names(names: Sequence[str], colours: Sequence[str]) -> dict[str, str]:
    """A colour for each name, the last one for all that are left over."""
    return {name: colours[min(place, len(colours) - 1)] for place, name in enumerate(names)}
