"""Reading the counters: one value per CPU, added up."""

import struct
from collections.abc import Iterable

from outrider.domain.observation import Count
from outrider.steering import layout, syscall
from outrider.steering.layout import Map
from outrider.steering.tables import Tables

# Reasons of packets that pass or go on, and the unused 0, are not drops.
_DROP_REASONS = tuple(layout.REASONS)[5:]


def read_wire(tables: Tables, slot: int) -> dict[str, Count]:
    """A wire's counters by name, and ``received_buffers``: what it first met from the guest, as the device counts."""
    values = _read(tables, layout.WIRE_COUNTERS, slot)
    counts = _named(layout.WIRE_COUNTS, values)
    _, received_bytes, received = values[0]
    return counts | {"received_buffers": Count(received, received_bytes)}


def read_appliance_port(tables: Tables, slot: int) -> dict[str, Count]:
    """An appliance port's counters by name."""
    return _named(layout.APPLIANCE_COUNTS, _read(tables, layout.VSA_COUNTERS, slot))


def read_drops(tables: Tables) -> dict[str, Count]:
    """Everything dropped anywhere on this server, by reason."""
    counts = _named(layout.REASONS, _read(tables, layout.DROPS, 0))
    return {reason: counts[reason] for reason in _DROP_REASONS}


def _named(names: Iterable[str], values: list[tuple[int, int, int]]) -> dict[str, Count]:
    return {name: Count(frames, octets) for name, (frames, octets, _) in zip(names, values, strict=True)}


def _read(tables: Tables, table: Map, slot: int) -> list[tuple[int, int, int]]:
    """(frames, bytes, buffers) of each counter of the slot."""
    cpus = syscall.possible_cpus()
    raw = syscall.lookup(tables.map_fds[table.name], slot, table.stride * cpus)
    numbers = table.value // 8
    rows = [struct.unpack_from(f"<{numbers}Q", raw, cpu * table.stride) for cpu in range(cpus)]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    return [(sums[i], sums[i + 1], sums[i + 2]) for i in range(0, numbers, 3)]
