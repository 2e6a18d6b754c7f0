"""The independent count: what really passed each port, seen by packet sockets that know nothing of our programs.

One process listens in every server's namespace at once and writes down, for every packet of the run (``packetid``),
when it was seen on which port and going which way. It decides nothing: which port belongs to an appliance, and what
that means for a packet, is for ``accounting`` to say. It also notes when each port first and last heard a station
(``Voice``): a guest that has moved is first heard at its new port.

Run as ``python -m outrider.lab.measure.capture`` by ``SideProcess``.
"""

import select
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outrider.domain.wire import Direction
from outrider.lab.measure.packetid import PacketId, Run
from outrider.lab.measure.packetring import Frame, PacketRing
from outrider.lab.measure.sideprocess import SideProcess, Signals, say, serve

MODULE = "outrider.lab.measure.capture"
_POLL_MS = 100
_LAST_TURNS = 20  # traffic that never ends must not keep the capture from ending
_DIRECTIONS = (Direction.INGRESS, Direction.EGRESS)


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """One interface of one server. An ifindex is not given again soon, a name may be."""

    server: str
    name: str
    ifindex: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One packet of the run, seen once. ``outgoing`` is the kernel's word: out of the server through this port."""

    packet: PacketId
    port: Port
    outgoing: bool
    at: float


@dataclass(frozen=True, slots=True)
class AttackSeen:
    """A frame with the bytes of an attack attempt, seen once."""

    attempt: int
    port: Port
    outgoing: bool
    at: float


@dataclass(frozen=True, slots=True)
class Voice:
    """A station whose frames passed a port, first and last, whatever they said. ``mac`` is their source address."""

    port: Port
    mac: str
    outgoing: bool
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Captured:
    """All that one capture saw. ``dropped`` must be 0, else the count is not to be relied on."""

    seen: tuple[Seen, ...] = ()
    attacks: tuple[AttackSeen, ...] = ()
    voices: tuple[Voice, ...] = ()
    dropped: int = 0


@dataclass(slots=True)
class Notebook:
    """What one server's ring has shown, in rows that are cheap to keep and to hand over."""

    run: Run
    ring: PacketRing
    ports: dict[int, str] = field(default_factory=dict)
    seen: list[tuple[float, int, int, int, int, int]] = field(default_factory=list)
    attacks: list[tuple[float, int, int, int]] = field(default_factory=list)
    voices: dict[tuple[int, bytes, bool], list[float]] = field(default_factory=dict)
    dropped: int = 0

    def read(self) -> None:
        """Take in everything the ring holds."""
        for frame in self.ring.frames():
            self._note(frame)

    def _note(self, frame: Frame) -> None:
        if frame.ifindex not in self.ports:
            self.ports[frame.ifindex] = self.ring.name_of(frame.ifindex)
        self._note_voice(frame)
        packet = self.run.read_frame(frame.data)
        if packet is not None:
            way = _DIRECTIONS.index(packet.direction)
            self.seen.append((frame.at, frame.ifindex, frame.outgoing, packet.flow, packet.sequence, way))
            return
        attempt = self.run.read_attack(frame.data)
        if attempt is not None:
            self.attacks.append((frame.at, frame.ifindex, frame.outgoing, attempt))

    def _note_voice(self, frame: Frame) -> None:
        key = (frame.ifindex, frame.data[6:12], frame.outgoing)
        times = self.voices.get(key)
        if times is None:
            self.voices[key] = [frame.at, frame.at]
        else:
            times[1] = frame.at

    def rows(self) -> dict[str, Any]:
        """Everything as JSON can carry it."""
        return {
            "ports": {str(index): name for index, name in self.ports.items()},
            "seen": self.seen,
            "attacks": self.attacks,
            "voices": [
                (index, mac.hex(":"), outgoing, *times) for (index, mac, outgoing), times in self.voices.items()
            ],
            "dropped": self.dropped + self.ring.drops(),
        }


class Capture:
    """A running capture in the network namespaces of ``servers`` (name → pid of a process in it)."""

    def __init__(self, run: Run, servers: Mapping[str, int], ignored: frozenset[str] = frozenset()) -> None:
        order = {"token": run.token.hex(), "servers": dict(servers), "ignored": sorted(ignored)}
        self._process = SideProcess(MODULE, order)
        self._process.wait_ready()

    def stop(self) -> Captured:
        """End it and return what it saw; raises ``MeasuringFailed`` when it broke."""
        return read_captured(self._process.stop())

    def kill(self) -> None:
        """End it at once, keeping nothing."""
        self._process.kill()


def read_captured(rows: Mapping[str, Mapping[str, Any]]) -> Captured:
    """The inverse of what the capture process prints: server name → rows."""
    seen: list[Seen] = []
    attacks: list[AttackSeen] = []
    voices: list[Voice] = []
    for server, of_server in rows.items():
        ports = {int(index): Port(server, name, int(index)) for index, name in of_server["ports"].items()}
        for at, index, outgoing, flow, sequence, way in of_server["seen"]:
            seen.append(Seen(PacketId(flow, sequence, _DIRECTIONS[way]), ports[index], bool(outgoing), at))
        for at, index, outgoing, attempt in of_server["attacks"]:
            attacks.append(AttackSeen(attempt, ports[index], bool(outgoing), at))
        for index, mac, outgoing, first, last in of_server["voices"]:
            voices.append(Voice(ports[index], mac, bool(outgoing), first, last))
    return Captured(
        tuple(sorted(seen, key=lambda one: one.at)),
        tuple(sorted(attacks, key=lambda one: one.at)),
        tuple(voices),
        sum(of_server["dropped"] for of_server in rows.values()),
    )


def record(order: dict[str, Any], signals: Signals) -> dict[str, Any]:
    """Listen in every namespace of ``order["servers"]`` until it is over; the rows by server."""
    run = Run(bytes.fromhex(order["token"]))
    ignored = frozenset(order["ignored"])
    books = {name: Notebook(run, PacketRing(pid, ignored)) for name, pid in order["servers"].items()}
    poll = select.poll()
    for book in books.values():
        poll.register(book.ring.socket, select.POLLIN)
    say({"ready": True})
    while not signals.is_over():
        poll.poll(_POLL_MS)
        for book in books.values():
            book.read()
    # The kernel hands a block over within 40 ms: what was seen before the end is in once a whole poll brings nothing.
    for _ in range(_LAST_TURNS):
        if not poll.poll(_POLL_MS):
            break
        for book in books.values():
            book.read()
    return {name: book.rows() for name, book in books.items()}


if __name__ == "__main__":
    sys.exit(serve(record))
