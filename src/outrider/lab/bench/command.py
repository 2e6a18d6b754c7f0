"""``outrider bench [NAME…] [--quick] [--json FILE]``."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from outrider.lab.bench.figure import KINDS
from outrider.lab.bench.host import describe_host
from outrider.lab.bench.printout import print_outcomes, write_json
from outrider.lab.bench.rigs import Outcome, Rig, UnknownFigure, Wish, choose_rigs, leave_out, run_rig
from outrider.lab.lab import DEFAULT_CACHE

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_QUICK_BEGINS_WITHIN_S = 45.0
_FAILED, _USAGE, _NOT_ALLOWED = 1, 2, 6  # as outrider.cli.exits has them


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]…", help=f"Figures to measure: {', '.join(KINDS)}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="In a minute: fewer rounds, containers only.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON.")] = None,
) -> int:
    """Measure what arming, switching and the detour cost on this machine. Everything is made and removed by the run."""
    try:
        chosen = choose_rigs(names or [], quick)
    except UnknownFigure as error:
        return _refuse(str(error), _USAGE)
    if os.geteuid() != 0:
        return _refuse("this needs root: the bench makes namespaces and attaches programs", _NOT_ALLOWED)
    if json_file and not os.access(json_file.absolute().parent, os.W_OK):
        return _refuse(f"cannot write {json_file}: its folder is not one that can be written to", _USAGE)
    cache_dir = Path(os.environ.get("OUTRIDER_CACHE", DEFAULT_CACHE))
    signal.signal(signal.SIGTERM, _interrupt)
    outcomes = _run(chosen, quick, cache_dir)
    # Piped into something, a row must stay a row.
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(", ".join(f"{key} {value}" for key, value in describe_host().items()), highlight=False)
    print_outcomes(console, outcomes)
    if json_file:
        write_json(json_file, outcomes)
    return _FAILED if any(outcome.problem for outcome in outcomes) else 0


def _interrupt(_signal: int, _frame: object) -> None:
    """SIGTERM ends the bench as Ctrl-C does: with everything taken down."""
    raise KeyboardInterrupt


def _run(chosen: Sequence[tuple[Rig, Sequence[str]]], quick: bool, cache_dir: Path) -> list[Outcome]:
    """All rigs in turn; a quick run begins none for which its minute is too short."""
    outcomes: list[Outcome] = []
    began = time.monotonic()
    with Console(stderr=True).status("") as status:
        for rig, names in chosen:
            spent_s = time.monotonic() - began
            if quick and spent_s > _QUICK_BEGINS_WITHIN_S:
                outcomes.append(leave_out(rig, names, f"the minute is over: {spent_s:.0f} s went to the others"))
                continue
            status.update(rig.title)
            outcomes.append(run_rig(rig, Wish(names, quick, cache_dir)))
    return outcomes


def _refuse(sentence: str, code: int) -> int:
    print(f"outrider: {sentence}", file=sys.stderr)
    return code
