"""A stage for packets: namespaces joined by veth pairs, and sockets that send and receive whole frames.

Everything has the prefix ``ora-`` and goes with ``close``. The test process steps into a namespace for as long as it
needs (``inside``), since interface numbers and attachments only mean something there.
"""

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 263, 8, 23
_VLAN_VALID, _TPID_VALID = 1 << 4, 1 << 6
_ETH_P_ALL = 3
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str) -> str:
    """Run a command; its output. Raises with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in ``namespace`` for the while."""
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{namespace}").open() as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclass
class Station:
    """One interface as a place to send and receive whole frames."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        with inside(self.namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.bind((self.name, _ETH_P_ALL))
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def mark(self, value: int) -> None:
        """SO_MARK of what is sent from now on."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("I", value))

    def receive(self, marker: bytes, within_s: float = 1.0) -> bytes | None:
        """The next frame that contains ``marker``, with its tags in it; None when there is none in time."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(65_536, 256)
            except TimeoutError:
                return None
            if marker in frame:
                return _with_tag(frame, ancillary)
        return None

    def close(self) -> None:
        self._socket.close()


def _with_tag(frame: bytes, ancillary: list[tuple[int, int, bytes]]) -> bytes:
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("<IIIHHHH", data[:20])
            if status & _VLAN_VALID:
                return frame[:12] + struct.pack(">HH", tpid if status & _TPID_VALID else 0x8100, tci) + frame[12:]
    return frame


@dataclass
class Stage:
    """Namespaces by short name."""

    prefix: str = field(default_factory=lambda: f"ora-{os.getpid()}")
    names: list[str] = field(default_factory=list)
    stations: list[Station] = field(default_factory=list)

    def namespace(self, name: str) -> str:
        """A namespace, made when asked for first; without IPv6 and so without anyone's noise."""
        full = f"{self.prefix}-{name}"
        if name not in self.names:
            run("ip", "netns", "add", full)
            self.names.append(name)
            self.sh(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
            self.sh(name, "ip link set lo up")
        return full

    def sh(self, name: str, command: str) -> str:
        """Run a command line in a namespace."""
        return run("ip", "netns", "exec", self.namespace(name), "sh", "-c", command)

    def pair(self, one: tuple[str, str], other: tuple[str, str], mtu: int = 1500) -> None:
        """A veth pair: (namespace, interface) and the same; both up."""
        (a, a_if), (b, b_if) = one, other
        self.sh(a, f"ip link add {a_if} mtu {mtu} type veth peer name {b_if} mtu {mtu} netns {self.namespace(b)}")
        self.sh(a, f"ip link set {a_if} up")
        self.sh(b, f"ip link set {b_if} up")

    def ifindex(self, name: str, interface: str) -> int:
        with inside(self.namespace(name)):
            return socket.if_nametoindex(interface)

    def station(self, name: str, interface: str) -> Station:
        station = Station(self.namespace(name), interface)
        self.stations.append(station)
        return station

    def close(self) -> None:
        for station in self.stations:
            station.close()
        for name in reversed(self.names):
            run("ip", "netns", "del", f"{self.prefix}-{name}")


def frame(source: str, target: str, payload: bytes, *tags: int, kind: int = 0x88B5) -> bytes:
    """An Ethernet frame of a local experimental type, with 802.1Q tags (outermost first), padded to 60 bytes."""
    header = bytes.fromhex(target.replace(":", "")) + bytes.fromhex(source.replace(":", ""))
    for tag in tags:
        header += struct.pack(">HH", 0x8100, tag)
    return (header + struct.pack(">H", kind) + payload).ljust(60, b"\0")
