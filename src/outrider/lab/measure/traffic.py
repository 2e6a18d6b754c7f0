"""Traffic in which every packet has a name: a client that asks guests, and a peer that runs in a container guest.

Two kinds of flows. **echo**: the client sends ICMP echo requests and the guest's kernel answers, so that an answer
proves delivery both ways with nothing installed in the guest (a VM guest needs no more). **udp**: the client sends
datagrams, and the peer inside a container guest writes down what came and sends a stream of its own to the client, so
that the direction from the guest is measured whether or not anything reached it.

Rates are steady, counts and times are bounded, and everything is bound to one network namespace. Most packets are
small; every sixteenth is as large as the guest's MTU allows, since a tunnel that is too narrow loses only those.

Run as ``python -m outrider.lab.measure.traffic`` by ``SideProcess``.
"""

import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from outrider.domain.wire import Direction
from outrider.lab.measure.packetid import PacketId, Run
from outrider.lab.measure.sideprocess import SideProcess, Signals, say, serve
from outrider.lab.netns_socket import open_socket_in

MODULE = "outrider.lab.measure.traffic"
UDP_PORT = 7007
LONGEST_S = 600.0
SMALL_PAYLOAD = 92
LARGE_PAYLOAD = 1472  # 1500 less the headers of IPv4 and ICMP or UDP
_LARGE_EVERY = 16
# Packets in flight at the end are no losses: an end listens until nothing has come for a second, within bounds.
_QUIET_S = 1.0
_LONGEST_LINGER_S = 8.0
_RECEIVE_BUFFER = 4 << 20
_DIRECTIONS = (Direction.INGRESS, Direction.EGRESS)


class FlowKind(StrEnum):
    """What a flow's packets are; ``PEER`` is the udp stream that a container guest sends."""

    ECHO = "echo"
    UDP = "udp"
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class Flow:
    """``rate`` packets per second to ``address`` (IPv4), at most ``limit`` of them, for or from ``guest``."""

    number: int
    kind: FlowKind
    guest: str
    address: str
    rate: float = 100.0
    limit: int = 60_000


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet as its sender knows it. Times are in seconds since the Unix epoch."""

    packet: PacketId
    at: float


@dataclass(frozen=True, slots=True)
class Received:
    """One packet as its receiver knows it; the order of a list of these is the order of arrival."""

    packet: PacketId
    at: float


@dataclass(frozen=True, slots=True)
class TrafficLog:
    """What one end of the traffic sent and received. ``refused`` counts sends that its own kernel would not take."""

    sent: tuple[Sent, ...] = ()
    received: tuple[Received, ...] = ()
    refused: int = 0

    def __add__(self, other: "TrafficLog") -> "TrafficLog":
        return TrafficLog(self.sent + other.sent, self.received + other.received, self.refused + other.refused)


class Traffic:
    """Traffic of ``flows`` from the network namespace of process ``pid``.

    It hears at once, sends when told to begin, and ends by itself after ``seconds``.
    """

    def __init__(self, run: Run, pid: int, flows: Sequence[Flow], seconds: float = LONGEST_S) -> None:
        order = {
            "token": run.token.hex(),
            "pid": pid,
            "flows": [asdict(flow) for flow in flows],
            "seconds": min(seconds, LONGEST_S),
        }
        self._process = SideProcess(MODULE, order)
        self._process.wait_ready()

    def begin(self) -> None:
        """Begin sending. Both ends can hear before either speaks, when both are made before either begins."""
        self._process.tell("begin")

    def hush(self) -> None:
        """Send nothing more. All ends are hushed before one is stopped, else the first to go deaf counts losses."""
        self._process.tell("hush")

    def stop(self) -> TrafficLog:
        """Stop sending, wait for what is in flight, and return what was sent and received."""
        rows = self._process.stop()
        return TrafficLog(
            tuple(Sent(*_packet_of(row)) for row in rows["sent"]),
            tuple(Received(*_packet_of(row)) for row in rows["received"]),
            rows["refused"],
        )

    def kill(self) -> None:
        """End it at once, keeping nothing."""
        self._process.kill()


def _packet_of(row: Sequence[Any]) -> tuple[PacketId, float]:
    at, flow, sequence, way = row
    return PacketId(flow, sequence, _DIRECTIONS[way]), at


@dataclass(slots=True)
class _Stream:
    """A flow while it is being sent: what is due when."""

    flow: Flow
    due: float
    sequence: int = 0

    def payload_size(self) -> int:
        return LARGE_PAYLOAD if self.sequence % _LARGE_EVERY == _LARGE_EVERY - 1 else SMALL_PAYLOAD

    def is_over(self) -> bool:
        return self.sequence >= self.flow.limit

    def advance(self) -> None:
        self.sequence += 1
        # What could not be sent in time is sent late, but never as a burst that would fill a queue by itself.
        self.due = max(self.due + 1 / self.flow.rate, time.monotonic() - 2 / self.flow.rate)


@dataclass(slots=True)
class _End:
    """One end of the traffic: its sockets and its two lists."""

    run: Run
    icmp: socket.socket
    udp: socket.socket
    sent: list[tuple[float, int, int, int]] = field(default_factory=list)
    received: list[tuple[float, int, int, int]] = field(default_factory=list)
    refused: int = 0

    def send(self, stream: _Stream) -> None:
        flow, sequence, size = stream.flow, stream.sequence, stream.payload_size()
        way = Direction.EGRESS if flow.kind is FlowKind.PEER else Direction.INGRESS
        try:
            if flow.kind is FlowKind.ECHO:
                message = echo_request(flow.number, sequence, self.run.echo_payload(flow.number, sequence, size))
                self.icmp.sendto(message, (flow.address, 0))
            else:
                payload = self.run.udp_payload(PacketId(flow.number, sequence, way), size)
                self.udp.sendto(payload, (flow.address, UDP_PORT))
        except OSError:
            # The namespace's own kernel did not take it (no neighbour yet, a full queue): it was never sent.
            self.refused += 1
        else:
            self.sent.append((time.time(), flow.number, sequence, _DIRECTIONS.index(way)))
        stream.advance()

    def receive(self, ready: Sequence[socket.socket]) -> None:
        for one in ready:
            for data in _drain(one):
                packet = self._read_icmp(data) if one is self.icmp else self.run.read_udp_payload(data)
                if packet is not None:
                    way = _DIRECTIONS.index(packet.direction)
                    self.received.append((time.time(), packet.flow, packet.sequence, way))

    def _read_icmp(self, data: bytes) -> PacketId | None:
        packet = self.run.read_icmp(data[(data[0] & 0x0F) * 4 :])
        # A raw socket also shows requests that others send to this address; only answers are ours.
        return packet if packet is not None and packet.direction is Direction.EGRESS else None


def echo_request(identifier: int, sequence: int, payload: bytes) -> bytes:
    """An ICMP echo request (RFC 792) with its checksum."""
    head = struct.pack("!BBHHH", 8, 0, 0, identifier & 0xFFFF, sequence & 0xFFFF)
    checksum = internet_checksum(head + payload)
    return head[:2] + struct.pack("!H", checksum) + head[4:] + payload


def internet_checksum(data: bytes) -> int:
    """The ones' complement checksum of RFC 1071 over ``data``."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _drain(one: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < 256:
        try:
            found.append(one.recv(65_535))
        except BlockingIOError:
            break
        except ConnectionRefusedError:
            continue  # an ICMP error for an earlier datagram: the peer is not there (yet)
    return found


def exchange(order: dict[str, Any], signals: Signals) -> dict[str, Any]:
    """Send the ordered flows until hushed or the ordered seconds have passed, receive until told to end; the rows."""
    end = _open_end(Run(bytes.fromhex(order["token"])), order["pid"])
    say({"ready": True})
    signals.await_begin()
    begin = time.monotonic()
    # Flows start apart, so that their packets do not leave as one burst.
    flows = [Flow(**{**row, "kind": FlowKind(row["kind"])}) for row in order["flows"]]
    streams = [_Stream(flow, begin + 0.002 * place) for place, flow in enumerate(flows)]
    last = begin + order["seconds"]
    while not signals.is_hushed() and time.monotonic() < last:
        _turn(end, streams)
    _listen_on(end, signals)
    return {"sent": end.sent, "received": end.received, "refused": end.refused}


def _listen_on(end: _End, signals: Signals) -> None:
    """Receive until told to end and quiet for a while, but not for ever: somebody else may be talking."""
    quiet_since = told_at = time.monotonic()
    while True:
        heard = len(end.received)
        end.receive(select.select([end.icmp, end.udp], [], [], 0.05)[0])
        now = time.monotonic()
        if len(end.received) > heard:
            quiet_since = now
        if not signals.is_over():
            told_at = now
        elif now - quiet_since >= _QUIET_S or now - told_at >= _LONGEST_LINGER_S:
            return


def _turn(end: _End, streams: Sequence[_Stream]) -> None:
    now = time.monotonic()
    waiting = [stream for stream in streams if not stream.is_over()]
    for stream in waiting:
        if stream.due <= now:
            end.send(stream)
    due = min((stream.due for stream in waiting), default=now + 0.05)
    pause = min(max(due - time.monotonic(), 0.0), 0.05)
    end.receive(select.select([end.icmp, end.udp], [], [], pause)[0])


def _open_end(run: Run, pid: int) -> _End:
    icmp = open_socket_in(pid, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    udp = open_socket_in(pid, socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    udp.bind(("", UDP_PORT))
    for one in (icmp, udp):
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return _End(run, icmp, udp)


if __name__ == "__main__":
    sys.exit(serve(exchange))
