"""The networks of a lab: one switch namespace with two bridges, and the cables from it.

The *fabric* is the guests' plain L2 network across the servers (MTU 1500); the *underlay* joins the servers (MTU 1700,
so that a full-size frame fits a tunnel) and no guest reaches it. All links are born inside namespaces, never on the
host: when the namespaces end, so do they.
"""

import ipaddress
import subprocess

from outrider.lab.paths import LabError, LabPaths
from outrider.lab.processes import hold_namespaces, marked_environment, require_inside
from outrider.lab.record import ClientRecord, ProcessRecord

FABRIC_MTU = 1500
UNDERLAY_MTU = 1700
FABRIC_BRIDGE = "br0"
TUNNEL_INTERFACE = "und0"
UNDERLAY_PREFIX = "10.255.0"
MOST_SERVERS = 250
# nothing but what users and tests send should be on the wires, so IPv6 does not announce itself
_QUIET = "for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done"
# a moved container loses its carrier for a moment, which no migrated guest does; it must not forget its neighbours for
# it, or it stays dumb for the second until it asks for them again (Linux 5.16 and later)
_KEEP_NEIGHBOURS = "f=/proc/sys/net/ipv4/conf/all/arp_evict_nocarrier; [ ! -e $f ] || echo 0 > $f"


def parse_address(text: str) -> str:
    """``text`` as ADDRESS/LENGTH, /24 when no length is given. Raises ``LabError`` when it is no IPv4 address."""
    try:
        address = ipaddress.IPv4Interface(text if "/" in text else f"{text}/24")
    except ValueError:
        raise LabError(f"{text!r} is not an IPv4 address such as 10.10.0.11 or 10.10.0.11/24") from None
    return str(address)


def run_ip(paths: LabPaths, where: ProcessRecord, *commands: str) -> None:
    """Run ``ip`` commands, one text each, on the links of ``where``. Raises ``LabError`` with ip's own words."""
    # only the network namespace is entered, so that "netns PID" is understood as it is outside
    batch = ["nsenter", f"--net=/proc/{where.pid}/ns/net", "--", "ip", "-batch", "-"]
    done = subprocess.run(
        batch,
        env=marked_environment(paths.home),
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"ip failed: {' '.join(done.stderr.split())} (it was given: {'; '.join(commands)})")


def quieten(paths: LabPaths, where: ProcessRecord) -> None:
    """Bring ``lo`` up and keep IPv6 silent in a set of namespaces."""
    require_inside(where, ["sh", "-c", f"{_QUIET}; {_KEEP_NEIGHBOURS}; ip link set lo up"], paths.home)


def make_switch(paths: LabPaths) -> ProcessRecord:
    """Make the switch namespace with its two bridges."""
    switch = hold_namespaces(paths.home, "switch")
    quieten(paths, switch)
    run_ip(
        paths,
        switch,
        f"link add fabric mtu {FABRIC_MTU} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link add underlay mtu {UNDERLAY_MTU} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        "link set fabric up",
        "link set underlay up",
    )
    return switch


def cable_server(paths: LabPaths, switch: ProcessRecord, server: ProcessRecord, index: int) -> str:
    """Give a server its fabric bridge and its underlay interface; return its underlay address."""
    address = f"{UNDERLAY_PREFIX}.{index}"
    run_ip(
        paths,
        switch,
        f"link add fab{index} mtu {FABRIC_MTU} type veth peer name fab0 mtu {FABRIC_MTU} netns {server.pid}",
        f"link add und{index} mtu {UNDERLAY_MTU} type veth peer name und0 mtu {UNDERLAY_MTU} netns {server.pid}",
        f"link set fab{index} master fabric up",
        f"link set und{index} master underlay up",
    )
    run_ip(
        paths,
        server,
        f"link add {FABRIC_BRIDGE} mtu {FABRIC_MTU} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set fab0 master {FABRIC_BRIDGE} up",
        f"link set {FABRIC_BRIDGE} up",
        f"link set {TUNNEL_INTERFACE} up",
        f"address add {address}/24 dev {TUNNEL_INTERFACE}",
    )
    return address


def make_client(paths: LabPaths, switch: ProcessRecord, name: str, address: str, number: int) -> ClientRecord:
    """Make an unprotected machine on the fabric's switch."""
    holder = hold_namespaces(paths.home, name)
    quieten(paths, holder)
    run_ip(
        paths,
        switch,
        f"link add cl{number} mtu {FABRIC_MTU} type veth peer name eth0 mtu {FABRIC_MTU} netns {holder.pid}",
        f"link set cl{number} master fabric up",
    )
    run_ip(paths, holder, f"address add {address} dev eth0", "link set eth0 up")
    return ClientRecord(name, address, holder)
