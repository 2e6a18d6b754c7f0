"""A packet socket with a shared memory ring: every frame of a network namespace, in order, with the kernel's own times.

Bound to no interface, so that ports which appear while it runs are seen from their first frame on. What this kernel
shows on an interface, found by attaching programs that drop everything (Linux 6.18; the order of the calls in
``net/core/dev.c`` is the same since 4.5):

- an *outgoing* frame is seen **after** the tc/tcx egress programs: seen going out of a vnic port means really given to
  the guest's side, whatever our programs decided;
- an *incoming* frame is seen **before** the tc/tcx ingress programs, and seen again when a program re-injects it: seen
  coming in at an appliance's port means the appliance really sent it, and at a vnic port it means nothing yet.

Source: packet(7) and the kernel's ``packet_mmap`` documentation (TPACKET_V3).
"""

import ctypes
import mmap
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import ioctl

from outrider.lab.netns_socket import open_socket_in

ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 5, 6, 10
_TPACKET_V3 = 2
_SIOCGIFNAME = 0x8910
_OUTGOING = 4  # sll_pkttype PACKET_OUTGOING

# Seconds of room: a reader that a busy machine does not let run must not become a gap in the count.
_BLOCK_SIZE = 1 << 16
_BLOCK_COUNT = 256
_RETIRE_MS = 40  # a block is handed over after this time even when not full
_SNAP_LENGTH = 320  # headers, three tags, and an HTTP request's first line

_KERNELS, _USERS = 0, 1
_BLOCK = struct.Struct("=IIIII")  # version, offset of private area, status, packets, offset of the first packet
# next offset, seconds, nanoseconds, bytes captured, bytes on the wire, status, offset of the MAC header
_FRAME = struct.Struct("=IIIIIIH")
_ADDRESS = struct.Struct("=HHiHB")  # struct sockaddr_ll up to its packet type
_ADDRESS_AT = 48  # after struct tpacket3_hdr
_FILTER_STEP = struct.Struct("=HBBI")  # struct sock_filter
_libc = ctypes.CDLL(None, use_errno=True)
_LOAD_IFINDEX = (0x20, 0, 0, 0xFFFFF008)  # BPF_LD|BPF_W|BPF_ABS at SKF_AD_OFF + SKF_AD_IFINDEX
_IF_EQUAL, _RETURN = 0x15, 0x06


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as seen on one interface. ``at`` is the kernel's time, in seconds since the Unix epoch."""

    at: float
    ifindex: int
    outgoing: bool
    data: bytes


class PacketRing:
    """All frames in the network namespace of process ``pid``, but for those on ``ignored`` interfaces.

    Raises ``OSError`` when the namespace cannot be entered or the ring not made.
    """

    def __init__(self, pid: int, ignored: frozenset[str] = frozenset()) -> None:
        self.socket = open_socket_in(pid, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._names: dict[int, str] = {}
        self._next_block = 0
        self._filter(ignored)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        request = struct.pack(
            "=7I", _BLOCK_SIZE, _BLOCK_COUNT, 2048, _BLOCK_SIZE // 2048 * _BLOCK_COUNT, _RETIRE_MS, 0, 0
        )
        self.socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        self._ring = mmap.mmap(self.socket.fileno(), _BLOCK_SIZE * _BLOCK_COUNT)
        self._listen()

    def close(self) -> None:
        """Give the ring and the socket back."""
        self._ring.close()
        self.socket.close()

    def frames(self) -> Iterator[Frame]:
        """What has been handed over since the last call; never waits (poll ``socket`` for reading)."""
        while True:
            base = self._next_block * _BLOCK_SIZE
            _, _, status, count, first = _BLOCK.unpack_from(self._ring, base)
            if not status & _USERS:
                return
            yield from self._frames_of_block(base + first, count)
            struct.pack_into("=I", self._ring, base + 8, _KERNELS)
            self._next_block = (self._next_block + 1) % _BLOCK_COUNT

    def drops(self) -> int:
        """Frames the kernel could not put into the ring since the last call."""
        raw = self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        _, dropped, _ = struct.unpack("=III", raw)
        return int(dropped)

    def name_of(self, ifindex: int) -> str:
        """The interface's name in the ring's namespace; ``if<index>`` when it is gone before anyone asked."""
        name = self._names.get(ifindex)
        if name is None:
            name = self._names[ifindex] = self._ask_name(ifindex)
        return name

    def _frames_of_block(self, at: int, count: int) -> Iterator[Frame]:
        for _ in range(count):
            step, seconds, nanoseconds, captured, _, _, mac = _FRAME.unpack_from(self._ring, at)
            _, _, ifindex, _, kind = _ADDRESS.unpack_from(self._ring, at + _ADDRESS_AT)
            data = self._ring[at + mac : at + mac + captured]
            yield Frame(seconds + nanoseconds * 1e-9, ifindex, kind == _OUTGOING, data)
            at += step

    def _listen(self) -> None:
        """Bind to every frame of every interface. (``socket.bind`` wants an interface's name: "all" has none.)"""
        address = struct.pack("=HHi12x", socket.AF_PACKET, socket.htons(ETH_P_ALL), 0)
        if _libc.bind(self.socket.fileno(), address, len(address)) != 0:
            raise OSError(ctypes.get_errno(), "cannot listen for packets")

    def _ask_name(self, ifindex: int) -> str:
        try:
            answer = ioctl(self.socket, _SIOCGIFNAME, struct.pack("=16si20x", b"", ifindex))
        except OSError:
            return f"if{ifindex}"
        return answer[:16].partition(b"\0")[0].decode()

    def _filter(self, ignored: frozenset[str]) -> None:
        """Keep out the ``ignored`` interfaces that exist now, in the kernel: a migration's own traffic is a flood."""
        indexes = sorted(self._index_of(name) for name in ignored)
        present = [index for index in indexes if index > 0]
        steps = [_LOAD_IFINDEX]
        for left, index in zip(range(len(present), 0, -1), present, strict=True):
            steps.append((_IF_EQUAL, left, 0, index))
        steps += [(_RETURN, 0, 0, _SNAP_LENGTH), (_RETURN, 0, 0, 0)]
        code = ctypes.create_string_buffer(b"".join(_FILTER_STEP.pack(*step) for step in steps))
        program = struct.pack("@HP", len(steps), ctypes.addressof(code))
        self.socket.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER

    def _index_of(self, name: str) -> int:
        try:
            answer = ioctl(self.socket, 0x8933, struct.pack("=16si20x", name.encode(), 0))  # SIOCGIFINDEX
        except OSError:
            return 0
        return int(struct.unpack_from("=16si", answer)[1])
