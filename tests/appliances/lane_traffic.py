"""A guest and a web server on both sides of an appliance: whole TCP conversations as frames on one lane."""

import select
import socket
import time
from dataclasses import dataclass

from scapy.all import IP, TCP, Dot1Q, Ether, Raw

GUEST, WEB = ("02:00:00:00:00:0a", "10.9.0.10"), ("02:00:00:00:00:0b", "10.9.0.11")
_IGNORE_OUTGOING = 23


def _socket(ifindex: int) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(263, _IGNORE_OUTGOING, 1)
    opened.bind((socket.if_indextoname(ifindex), 0x0003))
    return opened


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
        sender.send(frame)
        untagged = frame[18:]  # the tag has moved to the packet's metadata when it is received
        deadline = time.monotonic() + self.patience_s
        while (left := deadline - time.monotonic()) > 0:
            if select.select([receiver], [], [], left)[0] and untagged in receiver.recv(4096):
                return True
        return False
