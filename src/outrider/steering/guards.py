"""Which ports carry which of our programs, and that they still do."""

import errno
from collections.abc import Iterator, Sequence

from outrider.steering import layout
from outrider.steering.attachment import Hooks, is_displaced, look, seat, take_off
from outrider.steering.layout import Program
from outrider.steering.tables import Tables

VNIC = (layout.FROM_GUEST, layout.TO_GUEST)
APPLIANCE = (layout.FROM_APPLIANCE, layout.TO_APPLIANCE)
TUNNEL = (layout.FROM_TUNNEL, layout.TO_TUNNEL)
UNDERLAY = (layout.FROM_UNDERLAY,)


class Guards:
    """Attaches programs, and remembers where they belong."""

    def __init__(self, hooks: Hooks, tables: Tables) -> None:
        self._hooks, self._tables = hooks, tables
        self.ports: dict[int, Sequence[Program]] = {}

    def carries(self, ifindex: int, programs: Sequence[Program], maps: frozenset[int]) -> bool:
        """True when programs on *these* tables (map ids) are on every one of the port's hooks already."""
        return all(self._has_table(ifindex, program, maps) for program in programs)

    def _has_table(self, ifindex: int, program: Program, maps: frozenset[int]) -> bool:
        found = look(self._hooks, ifindex, program).named_ours
        return bool(found) and maps <= self._tables.maps_of(found[0])

    def guard(self, ifindex: int, programs: Sequence[Program]) -> list[str]:
        """Put ``programs`` on the port, first and alone of their kind; returns the names of those that were not.

        Raises ``PortRefused``.
        """
        self._hooks.check(ifindex)
        changed = [program.name for program in programs if self._seat(ifindex, program)]
        self.ports[ifindex] = programs
        return changed

    def _seat(self, ifindex: int, program: Program) -> bool:
        tables = self._tables
        return seat(self._hooks, ifindex, program, tables.program_fds[program.name], tables.program_ids[program.name])

    def release(self, ifindex: int, programs: Sequence[Program]) -> None:
        """Take our programs off the port, and nothing else."""
        take_off(self._hooks, ifindex, programs)
        self.ports.pop(ifindex, None)

    def displaced(self) -> list[tuple[int, str]]:
        """(port, program) where something was put before ours."""
        return [
            (ifindex, program.name)
            for ifindex, program in self._all()
            if is_displaced(look(self._hooks, ifindex, program), self._tables.program_ids[program.name])
        ]

    def vanished(self) -> list[int]:
        """Ports that no longer exist."""
        return [ifindex for ifindex, programs in self.ports.items() if not self._exists(ifindex, programs[0])]

    def _exists(self, ifindex: int, program: Program) -> bool:
        try:
            look(self._hooks, ifindex, program)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def reseat(self) -> list[tuple[int, str]]:
        """Put every program back where it belongs; (port, program) where it was not."""
        return [(ifindex, program.name) for ifindex, program in self._all() if self._seat(ifindex, program)]

    def _all(self) -> Iterator[tuple[int, Program]]:
        for ifindex, programs in list(self.ports.items()):
            for program in programs:
                yield ifindex, program
