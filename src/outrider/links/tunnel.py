"""The tunnel device: one VXLAN interface per server whose peer and key are chosen per packet, by our programs.

In ``external`` mode the kernel asks for no peer, learns nothing, and takes the outer header's fields from the packet's
metadata. It must have a UDP port of its own: a second external device on one port is refused by the kernel, and 4789
belongs to the operator.
"""

import errno
import os
import socket
import struct
from pathlib import Path

from outrider.links.rtnetlink import (
    IFF_UP,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
    LINK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELLINK,
    RTM_NEWLINK,
    LinkRequests,
    attribute,
    attributes,
    decode_links,
)

_HEADER_BYTES = 16
_IFLA_VXLAN_LEARNING, _IFLA_VXLAN_PORT, _IFLA_VXLAN_COLLECT_METADATA = 7, 15, 25
_BE16 = struct.Struct("!H")


class TunnelRefused(Exception):
    """The tunnel device cannot be made as wanted; the message says why."""


def ensure_tunnel(requests: LinkRequests, name: str, udp_port: int, mtu: int) -> int:
    """Make sure the external-mode VXLAN device exists, is up and has this MTU (bytes); return its ifindex.

    A VXLAN device of that name with other settings is ours from an earlier version, and made anew. Raises
    ``TunnelRefused`` when the name belongs to something else, or the kernel refuses (the UDP port is taken).
    """
    try:
        ifindex = _find_ours(requests, name, udp_port)
        if ifindex is None:
            requests.change(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _description(name, udp_port))
            ifindex = socket.if_nametoindex(name)
            _silence_ipv6(name)
        _bring_up(requests, ifindex, mtu)
    except OSError as error:
        reason = "another VXLAN device has this port" if error.errno == errno.EEXIST else error.strerror or str(error)
        raise TunnelRefused(f"tunnel device {name} on UDP port {udp_port}: {reason}") from None
    return ifindex


def _find_ours(requests: LinkRequests, name: str, udp_port: int) -> int | None:
    """The device's ifindex when it is as wanted; one with other settings is removed."""
    if name not in (known for _, known in socket.if_nameindex()):
        return None
    ifindex = socket.if_nametoindex(name)
    message = requests.link(ifindex)
    if decode_links(message)[0].port.kind != "vxlan":
        raise TunnelRefused(f"{name} exists and is not a VXLAN device: rename it")
    settings = _settings(message)
    wanted = {_IFLA_VXLAN_COLLECT_METADATA: b"\x01", _IFLA_VXLAN_PORT: _BE16.pack(udp_port)}
    if settings == wanted:
        return ifindex
    requests.change(RTM_DELLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0))
    return None


def _settings(message: bytes) -> dict[int, bytes]:
    interesting = frozenset({_IFLA_VXLAN_COLLECT_METADATA, _IFLA_VXLAN_PORT})
    for _, info in attributes(message, _HEADER_BYTES + LINK.size, len(message), frozenset({IFLA_LINKINFO})):
        for _, data in attributes(info, 0, len(info), frozenset({IFLA_INFO_DATA})):
            return {kind: bytes(value) for kind, value in attributes(data, 0, len(data), interesting)}
    return {}


def _description(name: str, udp_port: int) -> bytes:
    data = (
        attribute(_IFLA_VXLAN_COLLECT_METADATA, b"\x01")
        + attribute(_IFLA_VXLAN_LEARNING, b"\x00")
        + attribute(_IFLA_VXLAN_PORT, _BE16.pack(udp_port))
    )
    info = attribute(IFLA_INFO_KIND, b"vxlan\0") + attribute(IFLA_INFO_DATA, data)
    link = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return link + attribute(IFLA_IFNAME, os.fsencode(name) + b"\0") + attribute(IFLA_LINKINFO, info)


def _bring_up(requests: LinkRequests, ifindex: int, mtu: int) -> None:
    link = LINK.pack(socket.AF_UNSPEC, 0, ifindex, IFF_UP, IFF_UP)
    requests.change(RTM_NEWLINK, 0, link + attribute(IFLA_MTU, struct.pack("=I", mtu)))


def _silence_ipv6(name: str) -> None:
    """The tunnel carries frames only: the host itself has nothing to say on it."""
    setting = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    if setting.exists():
        setting.write_text("1")
