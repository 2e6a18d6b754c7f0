"""Speaks just enough rtnetlink: the attributes of links that a port observation is made of, and requests.

A general netlink library decodes every attribute of every link; at a hundred links that took 13 to 24 ms here, in the
event loop that has to arm new ports within 50. These few fields take under a millisecond.

Sources: rtnetlink(7), netlink(7), ``linux/if_link.h``.
"""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from outrider.domain.observation import PortObservation

RTMGRP_LINK = 1
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP_INTR = 1, 0x10
NLM_F_ACK, NLM_F_EXCL, NLM_F_DUMP, NLM_F_CREATE = 4, 0x200, 0x300, 0x400
_IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, _IFLA_MASTER, IFLA_LINKINFO, _IFLA_STATS64 = 1, 3, 4, 10, 18, 23
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
_WANTED = frozenset({_IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, _IFLA_MASTER, IFLA_LINKINFO, _IFLA_STATS64})
_NESTED_TYPE_MASK = 0x3FFF  # the two upper bits of an attribute's type are flags
IFF_UP = 1

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port id
LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, device type, ifindex, flags, change mask
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")
_PACKETS = struct.Struct("=QQ")  # the first two of struct rtnl_link_stats64: rx_packets, tx_packets
_RECEIVE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class LinkMessage:
    """One link as one message describes it; ``master`` is still an ifindex, 0 where there is none."""

    gone: bool
    port: PortObservation
    master: int


def attributes(data: bytes | memoryview, at: int, end: int, wanted: frozenset[int]) -> Iterator[tuple[int, memoryview]]:
    """The attributes between two offsets whose type is ``wanted``, as (type, value)."""
    view = memoryview(data)
    while at + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(view, at)
        if length < _ATTRIBUTE.size:
            return
        kind &= _NESTED_TYPE_MASK
        if kind in wanted:
            yield kind, view[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode(errors="replace")


def link_kind(link_info: memoryview) -> str:
    """The kernel's name for a link's type, from its IFLA_LINKINFO; empty where it says none."""
    for _, value in attributes(link_info, 0, len(link_info), frozenset({IFLA_INFO_KIND})):
        return _text(value)
    return ""


def _decode_link(data: memoryview, at: int, end: int, gone: bool) -> LinkMessage | None:
    family, _, ifindex, flags, _ = LINK.unpack_from(data, at)
    if family != socket.AF_UNSPEC:  # a bridge speaks of its ports in the same messages; leaving it is not an end
        return None
    found = dict(attributes(data, at + LINK.size, end, _WANTED))
    rx_packets, tx_packets = _PACKETS.unpack_from(found[_IFLA_STATS64]) if _IFLA_STATS64 in found else (0, 0)
    port = PortObservation(
        name=_text(found[IFLA_IFNAME]) if IFLA_IFNAME in found else "",
        ifindex=ifindex,
        mac=found[_IFLA_ADDRESS].hex(":") if found.get(_IFLA_ADDRESS) else "",
        mtu=_U32.unpack_from(found[IFLA_MTU])[0] if IFLA_MTU in found else 0,
        kind=link_kind(found[IFLA_LINKINFO]) if IFLA_LINKINFO in found else "",
        up=bool(flags & IFF_UP),
        rx_packets=rx_packets,
        tx_packets=tx_packets,
    )
    return LinkMessage(gone, port, _U32.unpack_from(found[_IFLA_MASTER])[0] if _IFLA_MASTER in found else 0)


def decode_links(datagram: bytes) -> list[LinkMessage]:
    """The links that one notification speaks of, in its order."""
    data, at, found = memoryview(datagram), 0, []
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            break
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            link = _decode_link(data, at + _HEADER.size, at + length, kind == RTM_DELLINK)
            if link:
                found.append(link)
        at += (length + 3) & ~3
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute as bytes, padded; a nested one's value is the attributes in it."""
    length = _ATTRIBUTE.size + len(value)
    return (_ATTRIBUTE.pack(length, kind) + value).ljust((length + 3) & ~3, b"\0")


def open_watch(buffer_bytes: int) -> socket.socket:
    """A non-blocking socket that receives every change of a link in this network namespace.

    ``buffer_bytes`` is what the kernel keeps for a reader that is late (it grants up to ``net.core.rmem_max``).
    """
    watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    watch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    watch.bind((0, RTMGRP_LINK))
    return watch


def receive(source: socket.socket) -> bytes:
    """One datagram, whole. Raises ``BlockingIOError`` when there is none, ``OSError`` ENOBUFS when some were missed."""
    return source.recv(_RECEIVE_BYTES)


class LinkRequests:
    """Asks the kernel about links, and to change them. Not safe for two threads at once.

    ``over`` is a route netlink socket of another network namespace; without it, this process's own is meant.
    """

    def __init__(self, over: socket.socket | None = None) -> None:
        self._socket = over or socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def links(self) -> list[LinkMessage]:
        """All links, as of now. Raises ``OSError`` when the kernel refuses."""
        while True:
            answer, interrupted = self._ask(RTM_GETLINK, NLM_F_DUMP, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
            if not interrupted:
                return [link for datagram in answer for link in decode_links(datagram)]

    def link(self, ifindex: int) -> bytes:
        """The kernel's message about one link. Raises ``OSError`` ENODEV when there is none."""
        answer, _ = self._ask(RTM_GETLINK, NLM_F_ACK, LINK.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0))
        return answer[0]

    def change(self, kind: int, flags: int, body: bytes) -> None:
        """Send one request that changes something. Raises ``OSError`` with the kernel's reason."""
        self._ask(kind, flags | NLM_F_ACK, body)

    def _ask(self, kind: int, flags: int, body: bytes) -> tuple[list[bytes], bool]:
        """The datagrams of one whole answer, and whether the kernel says that a list changed while it was read."""
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)
        answer, interrupted, complete = [], False, False
        while not complete:
            datagram = receive(self._socket)
            _, _, first_flags, sequence, _ = _HEADER.unpack_from(datagram)
            if sequence == self._sequence:
                interrupted = interrupted or bool(first_flags & _NLM_F_DUMP_INTR)
                answer.append(datagram)
                complete = _is_last(datagram)
        return answer, interrupted


def _is_last(datagram: bytes) -> bool:
    """True at the end of an answer; raises ``OSError`` when the end is a refusal."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, _, _, _ = _HEADER.unpack_from(datagram, at)
        if kind == _NLMSG_ERROR:
            code = -_I32.unpack_from(datagram, at + _HEADER.size)[0]
            if code:
                raise OSError(code, os.strerror(code))
        if kind in (_NLMSG_ERROR, _NLMSG_DONE):
            return True
        at += (max(length, _HEADER.size) + 3) & ~3
    return False
