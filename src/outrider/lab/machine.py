"""Guests that are virtual machines: libvirt domains, booted from a kernel and an initrd, live-migrated for real.

Everything is asked of each server's own libvirt over its socket, from outside the server. A domain is transient: when
it stops, or has moved away, that libvirt knows it no more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from outrider.lab.paths import LabError, LabPaths
from outrider.lab.record import GuestRecord, ServerRecord


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What a VM guest boots; ``command_line`` is added to the kernel's."""

    kernel: Path
    initrd: Path
    command_line: str = ""


ImageSource = Callable[[], GuestImage]


def start_machine(paths: LabPaths, guest: GuestRecord, server: ServerRecord, image: GuestImage) -> None:
    raise LabError("not yet")


def stop_machine(paths: LabPaths, guest: GuestRecord, server: ServerRecord) -> None:
    raise LabError("not yet")


def move_machine(
    paths: LabPaths, guest: GuestRecord, source: ServerRecord, target: ServerRecord, bandwidth: int | None
) -> GuestRecord:
    raise LabError("not yet")


def cut_move(paths: LabPaths, guest: GuestRecord, server: ServerRecord) -> None:
    raise LabError("not yet")
