"""Guests that are namespaces: quick to start, with real processes and connections, and moved by moving one link.

The order is the safety: the description is written, the port lies down in the server's namespace, the agent
acknowledges that it is armed, and only then the link comes up. A move keeps the guest's processes, addresses and MAC;
only the host's end of its cable goes to the other server, and comes back when that server refuses.
"""

import socket
import struct
import time
from dataclasses import replace

from outrider.domain.guest import GuestState
from outrider.hypervisors.containers import ContainerDescription, remove_description, write_description
from outrider.lab import fabric
from outrider.lab.arming import request_arming
from outrider.lab.netns_socket import open_socket_in
from outrider.lab.paths import LabError, LabPaths
from outrider.lab.port import carry_port, has_port, plug_port
from outrider.lab.processes import end_process, hold_namespaces, start_daemon
from outrider.lab.record import GuestRecord, ProcessRecord, ServerRecord

# QEMU's own pace (announce-initial, then 100 ms more each time), fewer rounds
_ANNOUNCEMENT_PAUSES_S = (0.0, 0.05, 0.15)
_SERVE = ["busybox", "httpd", "-f", "-p", "80", "-h"]


def describe(guest: GuestRecord, state: GuestState) -> ContainerDescription:
    """What a server's agent is told of the guest."""
    return ContainerDescription(guest.uuid, guest.name, state, dict(guest.labels), ((guest.mac, guest.port),))


def _arm_and_plug(paths: LabPaths, guest: GuestRecord, server: ServerRecord, phase: str) -> None:
    """The port is in the server, down; make it a working port of the fabric, armed first."""
    files = paths.server(server.name)
    description = describe(guest, GuestState.ARRIVING)
    write_description(files.containers, description)
    if server.agent:
        request_arming(files.hook_socket, description.to_json(), phase)
    plug_port(_port_of(guest), server.holder.pid, fabric.FABRIC_BRIDGE)
    write_description(files.containers, describe(guest, GuestState.RUNNING))


def _holder_of(guest: GuestRecord) -> ProcessRecord:
    if guest.holder is None:
        raise LabError(f"guest {guest.name!r} is not a container")
    return guest.holder


def _port_of(guest: GuestRecord) -> str:
    if guest.port is None:
        raise LabError(f"guest {guest.name!r} has no port of the lab's making")
    return guest.port


def start_container(paths: LabPaths, guest: GuestRecord, server: ServerRecord) -> GuestRecord:
    """Start a container guest on ``server``; return it with its holder and port. Leaves nothing when refused."""
    holder = hold_namespaces(paths.home, guest.name)
    guest = replace(guest, holder=holder, port=f"vc{guest.uuid[:8]}")
    try:
        fabric.quieten(paths, holder)
        fabric.run_ip(
            paths,
            server.holder,
            f"link add {guest.port} mtu {fabric.FABRIC_MTU} type veth peer name eth0 address {guest.mac} "
            f"mtu {fabric.FABRIC_MTU} netns {holder.pid}",
        )
        fabric.run_ip(paths, holder, f"address add {guest.address} dev eth0", "link set eth0 up")
        _arm_and_plug(paths, guest, server, "start")
    except LabError:
        stop_container(paths, guest, server)
        raise
    announce(guest)
    start_daemon([*_SERVE, str(paths.web)], paths.home, paths.log(f"guest-{guest.name}"), holder)
    return guest


def stop_container(paths: LabPaths, guest: GuestRecord, server: ServerRecord) -> None:
    """End a container guest; its port goes with it."""
    end_process(_holder_of(guest), paths.home)
    remove_description(paths.server(server.name).containers, guest.uuid)


def move_container(paths: LabPaths, guest: GuestRecord, source: ServerRecord, target: ServerRecord) -> GuestRecord:
    """Move a running container guest; raises ``LabError``, with the guest back on ``source``, when it is refused."""
    _holder_of(guest)
    if not has_port(_port_of(guest), target.holder.pid):  # it is, when an earlier move was killed half-way
        carry_port(_port_of(guest), source.holder.pid, target.holder.pid)
    write_description(paths.server(source.name).containers, describe(guest, GuestState.PAUSED))
    try:
        _arm_and_plug(paths, guest, target, "migrate")
    except LabError as refusal:
        carry_port(_port_of(guest), target.holder.pid, source.holder.pid)
        remove_description(paths.server(target.name).containers, guest.uuid)
        _arm_and_plug(paths, guest, source, "return")
        announce(guest)
        raise LabError(
            f"{guest.name} was not let onto {target.name} and goes on running on {source.name}: {refusal}"
        ) from None
    announce(guest)
    remove_description(paths.server(source.name).containers, guest.uuid)
    return replace(guest, server=target.name)


def _announcement(guest: GuestRecord) -> bytes:
    """A gratuitous ARP request (RFC 5227 section 3): who has my address? I, at my MAC."""
    mac = bytes.fromhex(guest.mac.replace(":", ""))
    address = socket.inet_aton(guest.address.partition("/")[0])
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", 0x0806)
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address + b"\0" * 6 + address
    return (ethernet + arp).ljust(60, b"\0")


def announce(guest: GuestRecord) -> None:
    """Tell the fabric, from inside the guest, where its MAC is now; repeated like QEMU's announcements."""
    frame = _announcement(guest)
    with open_socket_in(_holder_of(guest).pid, socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 0))
        for pause in _ANNOUNCEMENT_PAUSES_S:
            time.sleep(pause)
            wire.send(frame)
