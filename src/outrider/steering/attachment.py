"""Programs on a port: where they are, and how ours come there, first and alone of their kind.

Ours are told by the prefix of their names. A port may carry programs of ours that an earlier agent attached, or one of
another server (a container's veth end that was moved here takes its tcx programs with it): those are replaced, never
taken off first, so that no packet finds the port without any.
"""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from outrider.steering import syscall
from outrider.steering.layout import PROGRAM_PREFIX, Program


class PortRefused(Exception):
    """A port cannot be steered; the message says why, and what would help."""


class Hooks(Protocol):
    """One of the kernel's ways to have programs on a port. ``is_ingress`` is the kernel's word."""

    kind: str

    def check(self, ifindex: int) -> None:
        """Raises ``PortRefused`` when programs cannot be put there."""
        ...

    def programs(self, ifindex: int, is_ingress: bool) -> list[int]:
        """Ids of the programs there, in the order they run. Raises ``OSError`` (ENODEV: no such port)."""
        ...

    def attach_first(self, ifindex: int, is_ingress: bool, fd: int) -> None: ...

    def replace(self, ifindex: int, is_ingress: bool, fd: int, former_id: int) -> None:
        """Put program ``fd`` in the place of another, without a moment in between."""
        ...

    def detach(self, ifindex: int, is_ingress: bool, program_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Seat:
    """One hook of one port as it was found: ids of all programs on it, and which of them are named like ours."""

    all: tuple[int, ...]
    named_ours: tuple[int, ...]

    def is_held_by(self, program_id: int) -> bool:
        """True when that program is first there, and alone of its kind."""
        return self.all[:1] == (program_id,) and self.named_ours == (program_id,)


def look(hooks: Hooks, ifindex: int, program: Program) -> Seat:
    """What is on the hook of ``program`` now."""
    found = tuple(hooks.programs(ifindex, program.is_ingress))
    return Seat(found, tuple(number for number in found if _is_named_ours(number)))


def seat(hooks: Hooks, ifindex: int, program: Program, fd: int, program_id: int) -> bool:
    """Make program ``fd`` hold its hook of the port; true when something had to be changed.

    Where it is attached already but another program came before it, it cannot be moved without a gap: the caller must
    bring another instance (see ``is_displaced``).
    """
    now = look(hooks, ifindex, program)
    if now.is_held_by(program_id):
        return False
    if program_id in now.all:
        _take_off_all_but(hooks, ifindex, program, now, program_id)
    elif now.named_ours and now.named_ours[0] == now.all[0]:
        hooks.replace(ifindex, program.is_ingress, fd, now.named_ours[0])
        _take_off_all_but(hooks, ifindex, program, Seat(now.all, now.named_ours[1:]), program_id)
    else:
        hooks.attach_first(ifindex, program.is_ingress, fd)
        _take_off_all_but(hooks, ifindex, program, now, program_id)
    return True


def is_displaced(now: Seat, program_id: int) -> bool:
    """True when the program is there, behind another."""
    return program_id in now.all and now.all[0] != program_id


def _take_off_all_but(hooks: Hooks, ifindex: int, program: Program, now: Seat, program_id: int) -> None:
    for stale in now.named_ours:
        if stale != program_id:
            hooks.detach(ifindex, program.is_ingress, stale)


def take_off(hooks: Hooks, ifindex: int, programs: Sequence[Program]) -> None:
    """Take whatever is named like ours off these hooks; a port that is gone has none."""
    for program in programs:
        try:
            for number in look(hooks, ifindex, program).named_ours:
                hooks.detach(ifindex, program.is_ingress, number)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENOENT):
                raise


def _is_named_ours(program_id: int) -> bool:
    info = program_info(program_id)
    return info is not None and info.name.startswith(PROGRAM_PREFIX)


def program_info(program_id: int) -> syscall.ProgramInfo | None:
    """What the kernel says of the program, None when it is gone."""
    try:
        fd = syscall.program_fd(program_id)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    try:
        return syscall.program_info(fd)
    finally:
        os.close(fd)
