"""What a lab writes down about itself, so that any later command, from any directory, finds its parts again.

The record is one JSON file, replaced whole. Readers need no lock; writers take it briefly and never while something
slow (a migration, a boot) is under way, so that a migration can be cut by another command.
"""

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from outrider.lab.paths import LabError, LabPaths


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process told apart from a later one with the same number by its start time (clock ticks since boot)."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """One server. ``index`` (from 1) numbers its addresses."""

    name: str
    index: int
    holder: ProcessRecord
    tunnel_address: str
    libvirt: bool = False
    agent: bool = False


@dataclass(frozen=True, slots=True)
class GuestRecord:
    """One guest. ``holder`` and ``port`` exist for containers only; a VM's tap is libvirt's to name."""

    name: str
    uuid: str
    format: str
    server: str
    mac: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)
    holder: ProcessRecord | None = None
    port: str | None = None


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """An unprotected machine on the fabric's switch."""

    name: str
    address: str
    holder: ProcessRecord


@dataclass(frozen=True, slots=True)
class LabRecord:
    """Everything in one lab, by name."""

    switch: ProcessRecord | None = None
    servers: Mapping[str, ServerRecord] = field(default_factory=dict)
    guests: Mapping[str, GuestRecord] = field(default_factory=dict)
    clients: Mapping[str, ClientRecord] = field(default_factory=dict)

    def with_server(self, server: ServerRecord) -> "LabRecord":
        return replace(self, servers={**self.servers, server.name: server})

    def with_guest(self, guest: GuestRecord) -> "LabRecord":
        return replace(self, guests={**self.guests, guest.name: guest})

    def without_guest(self, name: str) -> "LabRecord":
        return replace(self, guests={k: v for k, v in self.guests.items() if k != name})

    def with_client(self, client: ClientRecord) -> "LabRecord":
        return replace(self, clients={**self.clients, client.name: client})


def _process(value: Any) -> ProcessRecord | None:
    return ProcessRecord(**value) if value else None


def _some_process(value: Any) -> ProcessRecord:
    return ProcessRecord(**value)


def _decode(text: str) -> LabRecord:
    raw = json.loads(text)
    return LabRecord(
        switch=_process(raw["switch"]),
        servers={
            k: ServerRecord(**{**v, "holder": _some_process(v["holder"])}) for k, v in raw["servers"].items()
        },
        guests={k: GuestRecord(**{**v, "holder": _process(v["holder"])}) for k, v in raw["guests"].items()},
        clients={
            k: ClientRecord(**{**v, "holder": _some_process(v["holder"])}) for k, v in raw["clients"].items()
        },
    )


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` so that a reader finds the old text or the new, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(path)


def read_record(paths: LabPaths) -> LabRecord:
    """Raises ``LabError`` when there is no such lab, or its record cannot be read."""
    try:
        return _decode(paths.record.read_text())
    except FileNotFoundError:
        raise LabError(f"there is no lab named {paths.name!r}: start one with `outrider lab up`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"the record of lab {paths.name!r} is damaged ({error}): `outrider lab down`") from None


def write_record(paths: LabPaths, record: LabRecord) -> None:
    write_atomically(paths.record, json.dumps(asdict(record), indent=1))


def edit_record(paths: LabPaths, change: Callable[[LabRecord], LabRecord]) -> LabRecord:
    """Apply ``change`` to the record as it is now, alone, and return it. Raises ``LabError`` as ``read_record``."""
    if not paths.home.is_dir():
        return read_record(paths)
    with paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = change(read_record(paths))
        write_record(paths, record)
        return record
