"""The two interfaces of an appliance on its server: the inport towards the guests, the outport towards the network.

Nothing may enter or leave an appliance before our programs stand on its ports, so the order is fixed here: the ports
are created down, guarded by the caller, and only then brought up. Their names follow from the appliance's name alone,
so that any agent finds them, and takes them away, without having made them.

The ports carry the guest's MTU + 8: a lane's VLAN tag, and one tag of the guest's own inside it. An engine that reads
frames itself (AF_PACKET) must get none that the kernel has yet to cut up or to checksum: such ports have no offloads.
"""

import hashlib
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

TAG_ROOM_BYTES = 8
_OFFLOADS_OFF = ("tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off")


class PortTrouble(Exception):
    """An appliance port could not be made or changed; the message is the kernel's own word."""


def short_id(appliance: str) -> str:
    """Eight hex digits for ``appliance``: interface names have room for 15 characters only."""
    return hashlib.sha256(appliance.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class AppliancePorts:
    """The interface names of one appliance."""

    inport: str
    outport: str

    @classmethod
    def of(cls, appliance: str) -> "AppliancePorts":
        """The names that belong to ``appliance``."""
        return cls(f"ori{short_id(appliance)}", f"oro{short_id(appliance)}")

    @property
    def both(self) -> tuple[str, str]:
        """Inport, outport."""
        return (self.inport, self.outport)

    def ifindexes(self) -> tuple[int, int] | None:
        """(inport, outport), or None unless both exist."""
        try:
            return (socket.if_nametoindex(self.inport), socket.if_nametoindex(self.outport))
        except OSError:
            return None


def create_taps(ports: AppliancePorts, mtu: int) -> None:
    """Two taps without offloads, down. Raises ``PortTrouble``."""
    for name in ports.both:
        _ip("tuntap", "add", "dev", name, "mode", "tap")
        _ip("link", "set", "dev", name, "mtu", str(mtu))
        _silence_ipv6(name)
        switch_offloads_off(name)


def create_veths(ports: AppliancePorts, mtu: int, peer_pid: int, offloads: bool) -> None:
    """Two veth pairs, down, whose far ends ``eth0`` and ``eth1`` are in the namespace of ``peer_pid``.

    Raises ``PortTrouble``.
    """
    for name, inside in zip(ports.both, ("eth0", "eth1"), strict=True):
        near = ("link", "add", "name", name, "mtu", str(mtu), "type", "veth")
        _ip(*near, "peer", "name", inside, "mtu", str(mtu), "netns", str(peer_pid))
        _silence_ipv6(name)
        if not offloads:
            switch_offloads_off(name)


def bring_up(ports: AppliancePorts) -> None:
    """From now on frames pass; the ports must have been guarded. Raises ``PortTrouble``."""
    for name in ports.both:
        _ip("link", "set", "dev", name, "up")


def delete_ports(ports: AppliancePorts) -> None:
    """Remove what exists of the two. Raises ``PortTrouble`` when one is there and stays."""
    for name in ports.both:
        if _exists(name):
            try:
                _ip("link", "del", "dev", name)
            except PortTrouble:
                # A veth goes by itself when the namespace of its other end does, perhaps at this moment.
                if _exists(name):
                    raise


def switch_offloads_off(name: str) -> None:
    """Have the kernel finish every frame (segments, checksums) before it is sent on ``name``."""
    _run("ethtool", "-K", name, *_OFFLOADS_OFF)


def _silence_ipv6(name: str) -> None:
    """Keep the server's own address set-up (neighbour discovery, multicast reports) off the port."""
    switch = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    if switch.exists():  # a kernel may have no IPv6 at all
        switch.write_text("1")


def _exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PortTrouble(f"{command[0]} is not on this machine: run './run setup'") from error
    if done.returncode:
        raise PortTrouble(f"{' '.join(command)}: {(done.stderr or done.stdout).strip() or 'failed'}")
