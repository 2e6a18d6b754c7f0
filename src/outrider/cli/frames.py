"""Frames for ``outrider trace``: a whole Ethernet frame from a few words, without a packet library.

Sources: IEEE 802.3 (14 octets of header), RFC 791 (IPv4), RFC 9293 (TCP), RFC 768 (UDP), RFC 792 (ICMP).
"""

import ipaddress
import struct
from dataclasses import dataclass
from enum import StrEnum

ETHERTYPE_IPV4 = 0x0800
_GUEST_MAC = bytes.fromhex("020000000001")
_OTHER_MAC = bytes.fromhex("020000000002")


class Protocol(StrEnum):
    """What the crafted packet carries."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


@dataclass(frozen=True, slots=True)
class Flow:
    """Addresses (IPv4, dotted) and ports of a packet; ICMP has no ports."""

    protocol: Protocol
    source: str
    destination: str
    source_port: int = 40000
    destination_port: int = 80


def craft_frame(flow: Flow, from_guest: bool) -> bytes:
    """The first packet of ``flow``: a TCP SYN, an empty UDP datagram or an ICMP echo request.

    Raises ``ValueError`` when an address is not IPv4.
    """
    source = ipaddress.IPv4Address(flow.source).packed
    destination = ipaddress.IPv4Address(flow.destination).packed
    segment = _segment(flow, source, destination)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, _NUMBERS[flow.protocol], 0)
    checksum = _checksum(header + source + destination)
    packet = header[:10] + struct.pack(">H", checksum) + source + destination + segment
    ends = (_OTHER_MAC, _GUEST_MAC) if from_guest else (_GUEST_MAC, _OTHER_MAC)
    return b"".join(ends) + struct.pack(">H", ETHERTYPE_IPV4) + packet


_NUMBERS = {Protocol.ICMP: 1, Protocol.TCP: 6, Protocol.UDP: 17}


def _segment(flow: Flow, source: bytes, destination: bytes) -> bytes:
    ports = (flow.source_port, flow.destination_port)
    match flow.protocol:
        case Protocol.ICMP:
            segment, place, pseudo = struct.pack(">BBHHH", 8, 0, 0, 1, 1), 2, b""
        case Protocol.UDP:
            segment, place, pseudo = struct.pack(">HHHH", *ports, 8, 0), 6, _pseudo_header(source, destination, 17, 8)
        case Protocol.TCP:
            segment = struct.pack(">HHIIBBHHH", *ports, 1, 0, 5 << 4, 0x02, 65535, 0, 0)
            place, pseudo = 16, _pseudo_header(source, destination, 6, 20)
    return segment[:place] + struct.pack(">H", _checksum(pseudo + segment)) + segment[place + 2 :]


def _pseudo_header(source: bytes, destination: bytes, number: int, length: int) -> bytes:
    return source + destination + struct.pack(">BBH", 0, number, length)


def _checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(word for (word,) in struct.iter_unpack(">H", octets + b"\0" * (len(octets) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
