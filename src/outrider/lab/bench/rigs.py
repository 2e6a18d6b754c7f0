"""Which rig measures which figure, and running them one after the other, each on a bed of its own."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outrider.domain.appliance import ApplianceFormat
from outrider.lab.bench import arming, cold, handover, pingpong, streams, switching
from outrider.lab.bench.bed import Bed
from outrider.lab.bench.figure import KINDS, Figure
from outrider.lab.bench.host import observe_busy_percent
from outrider.lab.bench.outpost import OutpostFailed
from outrider.lab.bench.switching import Size, SwitchFailed
from outrider.lab.paths import LabError


class UnknownFigure(Exception):
    """No rig measures a figure of that name; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a rig is asked for: figures by name, briefly (``quick``) or well; ``cache_dir`` keeps compiled programs."""

    names: Sequence[str]
    quick: bool
    cache_dir: Path


_WIRES_OF_10_000_ROWS = 1429  # a wire with two local paths is 7 rows: itself, 2 paths, 4 lanes
_SIZES = (Size(1, 60), Size(100, 40), Size(1000, 30), Size(_WIRES_OF_10_000_ROWS, 20, by_rows=True))
_QUICK_SIZES = (Size(1, 20), Size(100, 10), Size(1000, 10), Size(_WIRES_OF_10_000_ROWS, 7, by_rows=True))

Measure = Callable[[Bed, Wish], Iterator[Figure]]


@dataclass(frozen=True, slots=True)
class Rig:
    """Measures the figures ``names`` on a fresh bed; ``in_quick``: also when there is only a minute."""

    names: tuple[str, ...]
    title: str
    measure: Measure
    in_quick: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rig gave. ``problem``: why figures are ``missing``; ``busy_percent``: what others did just before."""

    rig: Rig
    figures: tuple[Figure, ...]
    busy_percent: float
    took_s: float
    missing: tuple[str, ...] = ()
    problem: str | None = None


def _streams(bed: Bed, wish: Wish) -> Iterator[Figure]:
    effort = streams.QUICK if wish.quick else streams.CAREFUL
    yield from streams.measure_streams(bed, wish.cache_dir, "bridge-null", effort, wish.names)


def _engine_streams(bed: Bed, wish: Wish) -> Iterator[Figure]:
    yield from streams.measure_streams(bed, wish.cache_dir, "suricata-ips", streams.CAREFUL_ENGINE, wish.names)


def _round_trips(bed: Bed, wish: Wish) -> Iterator[Figure]:
    yield from pingpong.measure_round_trips(bed, wish.cache_dir, 2000 if wish.quick else 10_000)


def _arming(bed: Bed, wish: Wish) -> Iterator[Figure]:
    yield from arming.measure_arming(bed, ports=100 if wish.quick else 300, burst=20)


def _flood(bed: Bed, wish: Wish) -> Iterator[Figure]:
    yield from arming.measure_flood(bed, guests=2 if wish.quick else 10)


def _switches(bed: Bed, wish: Wish) -> Iterator[Figure]:
    sizes = _QUICK_SIZES if wish.quick else _SIZES
    figures = switching.measure_switches(bed, wish.cache_dir, sizes)
    yield from (figure for figure in figures if figure.name in wish.names)


def _cold(image: str, form: ApplianceFormat, times: int) -> Measure:
    def measure(bed: Bed, wish: Wish) -> Iterator[Figure]:
        yield from cold.measure_cold(bed, wish.cache_dir, image, form, 3 if wish.quick else times)

    return measure


def _handovers(bed: Bed, wish: Wish) -> Iterator[Figure]:
    yield from handover.measure_handovers(bed, moves=1 if wish.quick else 7)


RIGS: Sequence[Rig] = (
    Rig(("arm_ms",), "arming", _arming),
    Rig(("frames_before_arming",), "arming under a flood", _flood),
    Rig(("switch_call_ms", "switch_effect_ms"), "switching wires", _switches),
    Rig(streams.NAMES, "TCP throughput through a bridge", _streams),
    Rig(streams.NAMES_OF_ENGINES, "TCP throughput through Suricata", _engine_streams, in_quick=False),
    Rig(("rtt_added_us",), "round trips", _round_trips),
    *(
        Rig(
            ("appliance_cold_ms",),
            f"{image} as a {form}, from request to ready",
            _cold(image, form, 10 if form is ApplianceFormat.CONTAINER else 5),
            in_quick=form is ApplianceFormat.CONTAINER,
        )
        for image in ("bridge-null", "suricata-ips")
        for form in (ApplianceFormat.CONTAINER, ApplianceFormat.VM)
    ),
    Rig(("handover_ms",), "handovers", _handovers),
)

# What a rig may run into on a machine that cannot do something, or when a part of the product fails.
_EXPECTED = (LabError, OutpostFailed, SwitchFailed, OSError, subprocess.SubprocessError)


def choose_rigs(names: Sequence[str], quick: bool) -> list[tuple[Rig, Sequence[str]]]:
    """The rigs for ``names`` (all figures when empty), each with those it shall measure. Raises ``UnknownFigure``."""
    for name in names:
        if name not in KINDS:
            raise UnknownFigure(f"there is no figure {name!r}; there are: {', '.join(KINDS)}")
    wanted = names or list(KINDS)
    chosen = [(rig, [name for name in rig.names if name in wanted]) for rig in RIGS if rig.in_quick or not quick]
    return [(rig, theirs) for rig, theirs in chosen if theirs]


def run_rig(rig: Rig, wish: Wish) -> Outcome:
    """Measure; what the rig runs into is part of the outcome. The bed is gone afterwards."""
    busy_percent, began = observe_busy_percent(), time.monotonic()
    figures: list[Figure] = []
    problem = None
    try:
        with Bed() as bed:
            figures.extend(rig.measure(bed, wish))
    except _EXPECTED as error:
        problem = str(error) or type(error).__name__
    missing = tuple(name for name in wish.names if name not in {figure.name for figure in figures})
    return Outcome(rig, tuple(figures), busy_percent, time.monotonic() - began, missing if problem else (), problem)


def leave_out(rig: Rig, names: Sequence[str], reason: str) -> Outcome:
    """The outcome of a rig that is not run."""
    return Outcome(rig, (), 0.0, 0.0, tuple(names), reason)
