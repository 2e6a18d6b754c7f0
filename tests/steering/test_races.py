"""Readers racing writers: 10^8 look-ups, none of which may find another wire's row, a torn row, or nothing.

Hash maps fail this within seconds (RECIPES E). Longer with OUTRIDER_RACE_SECONDS.
"""

import os
import struct
import threading
import time
from pathlib import Path

import pytest

from outrider.domain.wire import Direction, WireState
from outrider.pipeline.table import PathRow, SteeringTable, Tunnel, WireRow
from outrider.steering import slots, syscall
from outrider.steering.backend import EbpfSteering
from outrider.steering.build import build_programs
from outrider.steering.libbpf import open_object
from outrider.steering.tables import Sizes

from .servers import vnic
from .stage import Stage, frame, inside

pytestmark = pytest.mark.system

BASE, WIRES = 100, 32
LOOKUPS = 100_000_000
PER_RUN = 1 << 14
RACE_S = float(os.environ.get("OUTRIDER_RACE_SECONDS", "6"))  # at least; a slow machine takes longer for the look-ups
DEADLINE_S = RACE_S + 60
SIZES = Sizes(ifindexes=1024, wires=64, appliance_ports=2, paths=3 * WIRES, steps=64)


def table(version: int) -> SteeringTable:
    """Every wire on its path of this version; path ids are the wire's number modulo WIRES."""
    ids = [wire + WIRES * version for wire in range(WIRES)]
    return SteeringTable(
        tuple(WireRow(vnic(wire), BASE + wire, WireState.PATH, ids[wire]) for wire in range(WIRES)),
        tuple(
            PathRow(
                number,
                *(Tunnel(1, f"0.{number >> 16}.{number >> 8 & 255}.{number & 255}", number, way) for way in Direction),
            )
            for number in ids
        ),
    )


def load_readers(steering: EbpfSteering, cache: Path) -> tuple[int, int]:
    """(program, findings) on the tables of ``steering``."""
    compiled = build_programs(cache, Path(__file__).parent / "readers.bpf.c")
    with open_object(compiled) as opened:
        for name, fd in steering._tables.map_fds.items():
            opened.reuse(name, fd)
        loaded = opened.load(("readers",), ("findings",))
    return loaded.programs["readers"], loaded.maps["findings"]


def findings(fd: int) -> list[int]:
    raw = syscall.lookup(fd, 0, 32 * syscall.possible_cpus())
    numbers = struct.unpack(f"<{len(raw) // 8}Q", raw)
    return [sum(numbers[field::4]) for field in range(4)]


def test_readers_never_see_a_row_that_is_not_theirs_and_whole(
    stage: Stage, cache: Path, monkeypatch: pytest.MonkeyPatch, record_property
):
    monkeypatch.setattr(slots, "REST_S", 0.0)  # the grace period alone must do; it makes slots come round faster
    with inside(stage.namespace("s1")):
        steering = EbpfSteering("s1", cache_dir=cache, sizes=SIZES)
        steering.apply(table(0))
        program, found = load_readers(steering, cache)
        context = bytearray(192)
        struct.pack_into("<I", context, 8, PER_RUN)
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                syscall.test_run(program, frame("02:00:00:00:01:01", "02:00:00:00:01:02", b""), bytes(context))

        reader = threading.Thread(target=read)
        began = time.monotonic()
        reader.start()
        version = 0
        try:
            while time.monotonic() - began < (RACE_S if findings(found)[0] >= LOOKUPS else DEADLINE_S):
                for _ in range(20):
                    version += 1
                    steering.apply(table(version % 2_000))
        finally:
            stop.set()
            reader.join()
        took = time.monotonic() - began
        lookups, nothing, of_another, torn = findings(found)
        syscall.close_all([program, found])
        steering.close()
    print(f"{lookups} look-ups against {version} tables in {took:.1f} s")
    record_property("lookups", lookups)
    assert (nothing, of_another, torn) == (0, 0, 0)
    assert version > 10 * SIZES.paths / WIRES, "record slots came round several times"
    assert lookups >= LOOKUPS, f"only {lookups} look-ups in {took:.0f} s"
