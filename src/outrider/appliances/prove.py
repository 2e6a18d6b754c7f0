"""Proof that an appliance inspects: frames of ours go through it, and those it must stop do not come out.

A process that is up proves nothing, and neither does a frame that comes out: an engine without rules forwards
everything. So a round of proof sends, on the probe lane and through each port in turn, flows of two frames: the
**canary**, which the rule set's own last rule drops, and after it a **benign** frame of the same flow. A flow is
handled in order by one worker of the engine, so when its benign frame has come out, its canary has been decided on.
Every round uses fresh ports, and several flows, so that different workers are asked each time.

The frames are sent and received by packet sockets on the appliance's ports. Sent frames carry the mark by which the
ports' programs know that a frame may enter; received ones are seen before those programs drop the probe lane.

Sources: packet(7) (``PACKET_AUXDATA``, ``PACKET_IGNORE_OUTGOING``), socket(7) (``SO_MARK``, ``SO_ATTACH_FILTER``).
"""

import ctypes
import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from outrider.domain.wire import PROBE_LANE, Direction

FLOWS_PER_DIRECTION = 8
ROUND_S = 2.0  # an emulated engine on a busy server answers late; a dead process is noticed by other means
RESEND_S = 0.1

_ETH_P_ALL = 0x0003
_ETH_P_8021Q = 0x8100
_ETH_P_IP = 0x0800
_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_SO_ATTACH_FILTER = 26
_NEAR_MAC = bytes.fromhex("024f52000001")  # locally administered: "OR"
_FAR_MAC = bytes.fromhex("024f52000002")
_NEAR_ADDRESS = bytes((192, 0, 2, 1))
_FAR_ADDRESS = bytes((198, 51, 100, 1))
_MAGIC = b"outrider-probe "


class ProofFailed(Exception):
    """What the appliance did not show; the message is one sentence."""


class NotForwarding(ProofFailed):
    """Benign probes did not come out: the appliance is not up, or too slow."""


class NotInspecting(ProofFailed):
    """A canary came out: what passes here has not been inspected by the rules it should be."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What one round showed; ``canaries`` is 0 for an engine that inspects nothing."""

    flows: int
    canaries: int
    took_s: float


@dataclass(frozen=True, slots=True)
class _Flow:
    direction: Direction
    near_port: int
    far_port: int


def prove(ports: tuple[int, int], mark: int, canary: str | None, within_s: float = ROUND_S) -> Proof:
    """One round of proof through the appliance whose (inport, outport) ifindexes are ``ports``; blocks ``within_s``.

    ``canary`` is the text that the engine must stop, None when it inspects nothing. Raises ``NotForwarding`` or
    ``NotInspecting``, and ``OSError`` when a port is gone.
    """
    with ExitStack() as opened:
        inport = opened.enter_context(_packet_socket(ports[0], mark))
        outport = opened.enter_context(_packet_socket(ports[1], mark))
        return _Round(inport, outport, canary).run(within_s)


class _Round:
    def __init__(self, inport: socket.socket, outport: socket.socket, canary: str | None) -> None:
        self._sender = {Direction.EGRESS: inport, Direction.INGRESS: outport}
        self._canary = canary
        self._nonce = secrets.token_hex(8).encode()
        self._flows = list(_fresh_flows())
        self._arrived: set[bytes] = set()

    def run(self, within_s: float) -> Proof:
        started = time.monotonic()
        missing: Sequence[_Flow] = self._flows
        while missing and time.monotonic() < started + within_s:
            for flow in missing:
                self._send(flow)
            self._collect(missing, min(time.monotonic() + RESEND_S, started + within_s))
            missing = [flow for flow in self._flows if self._payload("benign", flow) not in self._arrived]
        self._judge(missing)
        canaries = len(self._flows) if self._canary is not None else 0
        return Proof(len(self._flows), canaries, time.monotonic() - started)

    def _judge(self, missing: Sequence[_Flow]) -> None:
        passed = [flow for flow in self._flows if self._payload("canary", flow) in self._arrived]
        if passed:
            raise NotInspecting(f"{len(passed)} of {len(self._flows)} canaries came out: its rules are not in force")
        if missing:
            ways = " and ".join(sorted({str(flow.direction) for flow in missing}))
            raise NotForwarding(f"{len(missing)} of {len(self._flows)} probes did not come out ({ways})")

    def _send(self, flow: _Flow) -> None:
        sender = self._sender[flow.direction]
        if self._canary is not None:
            sender.send(_frame(flow, self._payload("canary", flow)))
        sender.send(_frame(flow, self._payload("benign", flow)))

    def _collect(self, awaited: Sequence[_Flow], deadline: float) -> None:
        wanted = {self._payload("benign", flow) for flow in awaited}
        receivers = list(self._sender.values())
        while wanted - self._arrived and (left := deadline - time.monotonic()) > 0:
            for ready in select.select(receivers, (), (), left)[0]:
                self._take(ready.recv(2048))

    def _take(self, frame: bytes) -> None:
        at = frame.find(_MAGIC)
        if at >= 0:
            self._arrived.add(frame[at:])

    def _payload(self, kind: str, flow: _Flow) -> bytes:
        """Names the round, the flow and the way; a canary also says the text that must not pass."""
        text = self._canary.encode() if kind == "canary" and self._canary is not None else b""
        name = f"{kind} {flow.direction} {flow.near_port} {flow.far_port} ".encode()
        return _MAGIC + self._nonce + b" " + name + text


def _fresh_flows() -> Iterator[_Flow]:
    for direction in Direction:
        for _ in range(FLOWS_PER_DIRECTION):
            yield _Flow(direction, 20_000 + secrets.randbelow(20_000), 40_000 + secrets.randbelow(20_000))


def _frame(flow: _Flow, payload: bytes) -> bytes:
    """An Ethernet frame tagged with the probe lane: IPv4 (RFC 791), UDP (RFC 768) without the optional checksum."""
    near = (_NEAR_MAC, _NEAR_ADDRESS, flow.near_port)
    far = (_FAR_MAC, _FAR_ADDRESS, flow.far_port)
    source, target = (near, far) if flow.direction is Direction.EGRESS else (far, near)
    udp = struct.pack("!HHHH", source[2], target[2], 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, source[1], target[1])
    header = header[:10] + struct.pack("!H", _internet_checksum(header)) + header[12:]
    tag = struct.pack("!HHH", _ETH_P_8021Q, PROBE_LANE, _ETH_P_IP)
    return target[0] + source[0] + tag + header + udp


def _internet_checksum(data: bytes) -> int:
    """RFC 1071, for data of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@contextmanager
def _packet_socket(ifindex: int, mark: int) -> Iterator[socket.socket]:
    """A packet socket on one port that receives only what came in there on the probe lane."""
    # Protocol 0 until the filter is on: no foreign frame slips in between.
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("=I", mark))
        opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        _attach_lane_filter(opened)
        opened.bind((socket.if_indextoname(ifindex), _ETH_P_ALL))
        yield opened
    finally:
        opened.close()


# Classic BPF (the kernel's Documentation/networking/filter.rst): the tag is in the packet's metadata by then.
_LANE_FILTER = (
    (0x28, 0, 0, 0xFFFFF000 + 44),  # A = tag of the frame (SKF_AD_VLAN_TAG)
    (0x54, 0, 0, 0x0FFF),  # A &= VLAN id
    (0x15, 0, 1, PROBE_LANE),  # skip one unless it is the probe lane
    (0x06, 0, 0, 0x0000FFFF),  # take the frame
    (0x06, 0, 0, 0),  # leave it
)


def _attach_lane_filter(opened: socket.socket) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _LANE_FILTER))
    program = struct.pack("HL", len(_LANE_FILTER), ctypes.addressof(code))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
