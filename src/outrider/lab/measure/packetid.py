"""What makes one packet of the lab's traffic different from every other, and how to find that in a frame.

Subtracting one counter from another shows *how many* packets are missing; only packets that carry a name show *which*,
and where each was last seen. So every packet the lab sends carries, at the start of its ICMP or UDP payload, a mark
of the run (eight random bytes: frames of another lab on the same machine are not ours), its flow and its number.

The attack travels as HTTP, so its bytes are looked for as text: a token in the URL, unique to each attempt.
"""

import struct
from dataclasses import dataclass

from outrider.domain.wire import Direction

MAGIC = b"\xf0ORD"
RUN_BYTES = 8
SMALLEST_PAYLOAD = len(MAGIC) + RUN_BYTES + 7  # kind 1, flow 2, sequence 4

_IPV4 = 0x0800
_TAGS = frozenset({0x8100, 0x88A8})
_ICMP, _TCP, _UDP = 1, 6, 17
_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_FIELDS = struct.Struct("!cHI")
_ETHERTYPE = struct.Struct("!H")

_ECHO, _TOWARDS_GUEST, _BY_GUEST = b"E", b"I", b"O"
_UDP_DIRECTIONS = {_TOWARDS_GUEST: Direction.INGRESS, _BY_GUEST: Direction.EGRESS}
_ECHO_DIRECTIONS = {_ECHO_REQUEST: Direction.INGRESS, _ECHO_REPLY: Direction.EGRESS}


@dataclass(frozen=True, slots=True, order=True)
class PacketId:
    """One packet: which flow, the how-manieth of it, and whether it goes to the guest or comes from it."""

    flow: int
    sequence: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class Run:
    """The mark that all packets of one run carry. ``token`` is eight bytes nobody else uses."""

    token: bytes

    def __post_init__(self) -> None:
        if len(self.token) != RUN_BYTES:
            raise ValueError(f"a run's token has {RUN_BYTES} bytes, not {len(self.token)}")

    @property
    def mark(self) -> bytes:
        """What every payload of this run begins with."""
        return MAGIC + self.token

    @property
    def attack_prefix(self) -> bytes:
        """What the URL of every attack attempt contains, before the attempt's number."""
        return b"run=" + self.token.hex().encode() + b"-"

    def echo_payload(self, flow: int, sequence: int, size: int) -> bytes:
        """The payload of an ICMP echo request: ``size`` bytes, at least ``SMALLEST_PAYLOAD``."""
        return self._payload(_ECHO, flow, sequence, size)

    def udp_payload(self, packet: PacketId, size: int) -> bytes:
        """The payload of a UDP datagram: ``size`` bytes, at least ``SMALLEST_PAYLOAD``."""
        kind = _TOWARDS_GUEST if packet.direction is Direction.INGRESS else _BY_GUEST
        return self._payload(kind, packet.flow, packet.sequence, size)

    def _payload(self, kind: bytes, flow: int, sequence: int, size: int) -> bytes:
        head = self.mark + _FIELDS.pack(kind, flow, sequence)
        return head.ljust(size, b".")

    def read_icmp(self, message: bytes) -> PacketId | None:
        """The packet that an ICMP message (from its type byte on) is, None when it is not one of ours."""
        return self._read(message, 0, len(message), _ICMP) if len(message) >= 8 else None

    def read_udp_payload(self, payload: bytes) -> PacketId | None:
        """The packet that a datagram's payload belongs to, None when it is not one of ours."""
        return self._read_fields(payload, 0, _UDP, 0)

    def read_frame(self, frame: bytes) -> PacketId | None:
        """The packet that an Ethernet frame carries, through any number of VLAN tags; None when not one of ours."""
        found = locate_ipv4(frame)
        if found is None:
            return None
        header, protocol = found
        transport = header + (frame[header] & 0x0F) * 4
        return self._read(frame, transport, len(frame), protocol)

    def read_attack(self, frame: bytes) -> int | None:
        """The number of the attack attempt whose bytes are in ``frame``, None when there are none."""
        at = frame.find(self.attack_prefix)
        if at < 0:
            return None
        digits = frame[at + len(self.attack_prefix) :][:6]
        return int(digits) if digits.isdigit() else None

    def _read(self, data: bytes, transport: int, end: int, protocol: int) -> PacketId | None:
        if protocol not in (_ICMP, _UDP) or end < transport + 8:
            return None
        return self._read_fields(data, transport + 8, protocol, data[transport])

    def _read_fields(self, data: bytes, at: int, protocol: int, icmp_type: int) -> PacketId | None:
        if not data.startswith(self.mark, at) or len(data) < at + SMALLEST_PAYLOAD:
            return None
        kind, flow, sequence = _FIELDS.unpack_from(data, at + len(self.mark))
        if protocol == _ICMP:
            direction = _ECHO_DIRECTIONS.get(icmp_type) if kind == _ECHO else None
        else:
            direction = _UDP_DIRECTIONS.get(kind)
        return None if direction is None else PacketId(flow, sequence, direction)


def locate_ipv4(frame: bytes) -> tuple[int, int] | None:
    """(offset of the IPv4 header, its protocol) in an Ethernet frame with any VLAN tags; None when there is none."""
    at = 12
    while len(frame) >= at + 2:
        (ethertype,) = _ETHERTYPE.unpack_from(frame, at)
        if ethertype == _IPV4:
            header = at + 2
            return (header, frame[header + 9]) if len(frame) >= header + 20 else None
        if ethertype not in _TAGS:
            return None
        at += 4
    return None
