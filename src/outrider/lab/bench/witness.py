"""What the kernel itself says of a port: which of our programs are on it, and what they have counted.

The product's own word on when a port was armed, or on what it saw, is not evidence in a measurement of the product. So
this looks from outside, by the kernel's object numbers; it shares with the product only the layout of the tables.
"""

import socket
import struct
import time
from pathlib import Path

from outrider.steering import layout, syscall
from outrider.steering.arrays import MappedWords
from outrider.steering.attachment import Hooks, program_info
from outrider.steering.clsact import ClsactHooks
from outrider.steering.tcx import TcxHooks, has_tcx

_PAUSE_S = 0.000_05


class NotArmed(Exception):
    """A port was not armed within the time given."""


class Witness:
    """Looks at ports of the network namespace it is used in."""

    def __init__(self) -> None:
        self._hooks: Hooks = TcxHooks() if has_tcx() else ClsactHooks()

    def wait_armed(self, ifindex: int, within_s: float) -> None:
        """Return once both of a vnic port's programs are on it. Raises ``NotArmed``."""
        deadline = time.monotonic() + within_s
        while not (self._has(ifindex, layout.FROM_GUEST) and self._has(ifindex, layout.TO_GUEST)):
            if time.monotonic() > deadline:
                raise NotArmed(f"interface {ifindex} was not armed within {within_s:g} s")
            time.sleep(_PAUSE_S)

    def first_met(self, port: str) -> int:
        """Frames of the guest that the port's programs have met, as buffers: what the device counts as received."""
        maps = self._maps_of(port)
        word = struct.unpack("<Q", syscall.lookup(maps["ports"], socket.if_nametoindex(port), 8))[0]
        cpus, stride = syscall.possible_cpus(), layout.WIRE_COUNTERS.stride
        raw = syscall.lookup(maps["wire_counters"], layout.PORT_SLOT.get(word), stride * cpus)
        syscall.close_all(maps.values())
        # the first counter is first_egress; of a counter the third number is its buffers
        return sum(int(struct.unpack_from("<3Q", raw, cpu * stride)[2]) for cpu in range(cpus))

    def keys_in_use(self, port: str) -> int:
        """How many tunnel identifiers the tables behind ``port`` know."""
        maps = self._maps_of(port)
        keys = MappedWords(maps["keys"], layout.KEY_ROWS, layout.TUNNEL_KEYS)
        count = len(dict(keys.used()))
        keys.close()
        syscall.close_all(maps.values())
        return count

    def _has(self, ifindex: int, program: layout.Program) -> bool:
        infos = [program_info(number) for number in self._hooks.programs(ifindex, program.is_ingress)]
        return any(info is not None and info.name == program.name for info in infos)

    def _maps_of(self, port: str) -> dict[str, int]:
        """File descriptors of the tables of the port's program, by name."""
        for number in self._hooks.programs(socket.if_nametoindex(port), layout.FROM_GUEST.is_ingress):
            info = program_info(number)
            if info is not None and info.name == layout.FROM_GUEST.name:
                fds = [syscall.map_fd(map_id) for map_id in info.map_ids]
                return {syscall.map_info(fd).name: fd for fd in fds}
        raise NotArmed(f"no program of ours is on {port}")


def received(port: str) -> int:
    """Packets the device has received, by its own count."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == port:
            return int(numbers.split()[1])
    raise OSError(f"there is no interface {port}")
