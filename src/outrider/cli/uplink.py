"""Which interface and address lead to the other servers, when nobody says.

The interface of the default route is right on a server with one network; where guests share that network an
underlay of its own must be named (``outrider doctor`` tells).
"""

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

_SIOCGIFADDR = 0x8915  # netdevice(7)
_ROUTES = Path("/proc/net/route")
_RTF_UP = 0x1


def default_uplink(interface: str | None, address: str | None) -> tuple[str, str]:
    """(interface, IPv4 address), what is given kept, the rest found out.

    Raises ``ValueError`` when the interface has no IPv4 address or the address is none.
    """
    name = interface or default_route_interface() or "lo"
    if address is not None:
        return name, str(ipaddress.IPv4Address(address))
    found = ipv4_of(name)
    if found is None:
        raise ValueError(f"{name} has no IPv4 address: name another with --tunnel-interface or --tunnel-address")
    return name, found


def default_route_interface() -> str | None:
    """The interface of the first IPv4 default route, None when there is none (/proc/net/route, see proc_net(5))."""
    for line in _ROUTES.read_text().splitlines()[1:]:
        (
            name,
            destination,
            _,
            flags,
            *_,
        ) = line.split()[:4]
        if destination == "00000000" and int(flags, 16) & _RTF_UP:
            return name
    return None


def ipv4_of(interface: str) -> str | None:
    """The interface's first IPv4 address, None when it has none or does not exist."""
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])
