"""Moves and plugs a container's port by netlink: a guest is cut off while this lasts, so it has to be quick.

A process such as ip(8) for each step costs tens of milliseconds on a busy machine; a netlink request well under one.
"""

import socket
import struct
from collections.abc import Callable
from contextlib import closing

from outrider.lab.netns_socket import open_socket_in
from outrider.lab.paths import LabError
from outrider.links.rtnetlink import IFF_UP, LINK, RTM_NEWLINK, LinkRequests, attribute

_IFLA_MASTER, _IFLA_NET_NS_PID = 10, 19
_U32 = struct.Struct("=I")


class PortMissing(LabError):
    """A port is not in the namespace that was meant."""


def _change(pid: int, port: str, change: Callable[[LinkRequests, int], None]) -> None:
    """Apply ``change`` to a port in the network namespace of ``pid``; raises ``LabError``."""
    try:
        with closing(LinkRequests(open_socket_in(pid, socket.AF_NETLINK, socket.SOCK_RAW))) as requests:
            change(requests, _ifindex(requests, port))
    except OSError as error:
        raise LabError(f"port {port}: {error.strerror or error}") from None


def _ifindex(requests: LinkRequests, name: str) -> int:
    for link in requests.links():
        if link.port.name == name:
            return link.port.ifindex
    raise PortMissing(f"port {name} is not where it should be")


def has_port(port: str, where: int) -> bool:
    """True when a port is in the network namespace of process ``where``. Raises ``LabError``."""
    try:
        _change(where, port, lambda requests, ifindex: None)
    except PortMissing:
        return False
    return True


def carry_port(port: str, source: int, target: int) -> None:
    """Move a port from the network namespace of process ``source`` to that of ``target``.

    The kernel takes it down, and out of its bridge.
    """

    def carry(requests: LinkRequests, ifindex: int) -> None:
        link = LINK.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0)
        requests.change(RTM_NEWLINK, 0, link + attribute(_IFLA_NET_NS_PID, _U32.pack(target)))

    _change(source, port, carry)


def plug_port(port: str, where: int, bridge: str) -> None:
    """Make a port of process ``where``'s network namespace a port of ``bridge``, and bring it up."""

    def plug(requests: LinkRequests, ifindex: int) -> None:
        master = attribute(_IFLA_MASTER, _U32.pack(_ifindex(requests, bridge)))
        requests.change(RTM_NEWLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0) + master)
        requests.change(RTM_NEWLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, ifindex, IFF_UP, IFF_UP))

    _change(where, port, plug)
