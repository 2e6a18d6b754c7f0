"""A guest and a web server on both sides of an appliance: whole TCP conversations as frames on one lane."""

import select
import socket
import struct
import time
from dataclasses import dataclass

from scapy.all import IP, TCP, Dot1Q, Ether, Raw

GUEST, WEB = ("02:00:00:00:00:0a", "10.9.0.10"), ("02:00:00:00:00:0b", "10.9.0.11")
_AUXDATA, _IGNORE_OUTGOING = 8, 23


def _socket(ifindex: int) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(263, _IGNORE_OUTGOING, 1)
    opened.setsockopt(263, _AUXDATA, 1)
    opened.bind((socket.if_indextoname(ifindex), 0x0003))
    return opened


def comes_out(frame: bytes, sent_on: int, awaited_on: int, patience_s: float = 2.0) -> bool:
    """True when ``frame`` (tagged with its lane), sent on one port (ifindex), comes out of the other unchanged."""
    with _socket(sent_on) as sender, _socket(awaited_on) as receiver:
        return _crosses(sender, receiver, frame, patience_s)


def _crosses(sender: socket.socket, receiver: socket.socket, frame: bytes, patience_s: float) -> bool:
    sender.send(frame)
    untagged = frame[:12] + frame[16:]  # the lane's tag has moved to the packet's metadata when it is received
    deadline = time.monotonic() + patience_s
    while (left := deadline - time.monotonic()) > 0:
        if select.select([receiver], [], [], left)[0]:
            got, metadata, _, _ = receiver.recvmsg(4096, 64)
            if got == untagged and _tag(metadata) == frame[14:16]:
                return True
    return False


def _tag(metadata: list[tuple[int, int, bytes]]) -> bytes:
    """The tag (priority and VLAN id) of a received frame, from its ``struct tpacket_auxdata`` (packet(7))."""
    for level, kind, data in metadata:
        if (level, kind) == (263, _AUXDATA):
            (tag,) = struct.unpack_from("=H", data, 16)
            return int(tag).to_bytes(2, "big")
    return b""


@dataclass
class Conversation:
    """Frames between a client at the outport and the guest at the inport, each tried for ``patience_s``."""

    ports: tuple[int, int]
    lane: int
    client_port: int
    patience_s: float = 2.0

    def request(self, uri: str) -> bool:
        """Open a connection to the guest and ask for ``uri``; True when the request's frame came out at the guest."""
        with _socket(self.ports[0]) as guest, _socket(self.ports[1]) as web:
            opened = (
                self._passes(web, guest, self._to_guest("S", 1000, 0))
                and self._passes(guest, web, self._to_client("SA", 5000, 1001))
                and self._passes(web, guest, self._to_guest("A", 1001, 5001))
            )
            assert opened, "the appliance does not even let a connection be opened"
            text = f"GET {uri} HTTP/1.1\r\nHost: guest\r\n\r\n".encode()
            return self._passes(web, guest, self._to_guest("PA", 1001, 5001, text))

    def _to_guest(self, flags: str, seq: int, ack: int, payload: bytes = b"") -> bytes:
        tcp = TCP(sport=self.client_port, dport=80, flags=flags, seq=seq, ack=ack)
        return self._frame(WEB, GUEST, tcp, payload)

    def _to_client(self, flags: str, seq: int, ack: int) -> bytes:
        tcp = TCP(sport=80, dport=self.client_port, flags=flags, seq=seq, ack=ack)
        return self._frame(GUEST, WEB, tcp, b"")

    def _frame(self, source: tuple[str, str], target: tuple[str, str], tcp: TCP, payload: bytes) -> bytes:
        head = Ether(src=source[0], dst=target[0]) / Dot1Q(vlan=self.lane) / IP(src=source[1], dst=target[1]) / tcp
        return bytes(head / Raw(payload) if payload else head)

    def _passes(self, sender: socket.socket, receiver: socket.socket, frame: bytes) -> bool:
        return _crosses(sender, receiver, frame, self.patience_s)
