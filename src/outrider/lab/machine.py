"""Guests that are virtual machines: libvirt domains, booted from a kernel and an initrd, live-migrated for real.

Everything is asked of each server's own libvirt over its socket, from outside the server. A domain is transient: when
it stops, or has moved away, that libvirt knows it no more.
"""

import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from shlex import join
from xml.sax.saxutils import escape, quoteattr

import libvirt

from outrider.hypervisors.description import labels_xml
from outrider.lab import fabric
from outrider.lab.images import GuestImage
from outrider.lab.paths import LabError, LabPaths, ServerPaths
from outrider.lab.record import GuestRecord, ServerRecord

MEMORY_MIB = 128
# An emulating QEMU before 9.0 loses what the guest writes while it is migrated, and the guest dies of it now and then:
# having cleared the dirty bits of whole words (64 pages), it does not tell its TLBs (fixed upstream by "physmem: Fix
# migration dirty bitmap coherency with TCG memory access"; Debian 12 has 7.2). Memory that is no multiple of 64 pages
# takes the way page by page, which does. libvirt rounds memory to MiB, hence the arguments.
_CAREFUL_KIB = MEMORY_MIB * 1024 + 8
_CAREFUL_MEMORY = (
    *("-object", f"memory-backend-ram,id=careful,size={_CAREFUL_KIB}K"),
    *("-machine", "memory-backend=careful"),
    *("-m", f"size={_CAREFUL_KIB}k"),
)
EXEC_WITHIN_S = 30.0
LONGEST_STOP_MS = 20  # what QEMU aims at for the last copy of memory; libvirt's own 300 shows as lost pings


@contextmanager
def connect(server: ServerPaths) -> Iterator[libvirt.virConnect]:
    """A connection to a server's libvirt; libvirt's errors inside become ``LabError``."""
    _keep_libvirt_quiet()
    try:
        host = libvirt.open(server.libvirt_uri)
        try:
            yield host
        finally:
            host.close()
    except libvirt.libvirtError as error:
        raise LabError(_one_sentence(error)) from None


def _keep_libvirt_quiet() -> None:
    """libvirt prints every error on stderr besides raising it, unless it is given somewhere else to say it."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)


def _one_sentence(error: libvirt.libvirtError) -> str:
    return " ".join((error.get_error_message() or str(error)).split())


def domain_xml(guest: GuestRecord, image: GuestImage) -> str:
    """The libvirt domain of a VM guest: TCG, one vnic on the fabric bridge, its console in libvirt's log directory."""
    command_line = f"{image.options} outrider.ip={guest.address} outrider.name={guest.name}"
    return f"""\
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{escape(guest.name)}</name>
  <uuid>{guest.uuid}</uuid>
  <metadata>{labels_xml(guest.labels)}</metadata>
  <memory unit='MiB'>{MEMORY_MIB}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{escape(str(image.kernel))}</kernel>
    <initrd>{escape(str(image.initrd))}</initrd>
    <cmdline>{escape(command_line)}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface type='bridge'>
      <mac address={quoteattr(guest.mac)}/>
      <source bridge='{fabric.FABRIC_BRIDGE}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    <channel type='unix'>
      <source mode='bind' path='/run/{_exec_socket(guest)}'/>
      <target type='virtio' name='outrider.exec'/>
    </channel>
    <serial type='file'><source path='/var/log/libvirt/console-{escape(guest.name)}.log'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>{_arguments_xml(_CAREFUL_MEMORY)}</qemu:commandline>
</domain>
"""


def _arguments_xml(arguments: Iterable[str]) -> str:
    return "".join(f"<qemu:arg value={quoteattr(argument)}/>" for argument in arguments)


def _exec_socket(guest: GuestRecord) -> str:
    return f"exec-{guest.name}.sock"


def start_machine(paths: LabPaths, guest: GuestRecord, server: ServerRecord, image: GuestImage) -> None:
    """Start a VM guest on ``server``. Returns when its QEMU runs; the guest answers a second or two later."""
    with connect(paths.server(server.name)) as host:
        host.createXML(domain_xml(guest, image), 0)


def find_machine(paths: LabPaths, guest: GuestRecord, servers: Iterable[ServerRecord]) -> ServerRecord | None:
    """The server whose libvirt knows the VM guest; None when it has ended.

    While a guest moves, that is the first of ``servers`` that does.
    """
    for server in servers:
        if server.libvirt:
            with connect(paths.server(server.name)) as host:
                if any(domain.UUIDString() == guest.uuid for domain in host.listAllDomains()):
                    return server
    return None


def stop_machine(paths: LabPaths, guest: GuestRecord, server: ServerRecord) -> None:
    """End a VM guest at once; harmless when it has ended by itself."""
    with connect(paths.server(server.name)) as host:
        try:
            host.lookupByUUIDString(guest.uuid).destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise


def move_machine(
    paths: LabPaths, guest: GuestRecord, source: ServerRecord, target: ServerRecord, bandwidth: int | None
) -> GuestRecord:
    """Live-migrate a VM guest from libvirt to libvirt, its memory over the underlay."""
    require_libvirt(target)
    parameters: dict[str, str | int] = {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{target.tunnel_address}"}
    if bandwidth is not None:
        parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = bandwidth
    with connect(paths.server(source.name)) as host:
        domain = host.lookupByUUIDString(guest.uuid)
        domain.migrateSetMaxDowntime(LONGEST_STOP_MS)
        domain.migrateToURI3(
            paths.server(target.name).libvirt_uri,
            parameters,
            libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER,
        )
    return replace(guest, server=target.name)


def cut_move(paths: LabPaths, guest: GuestRecord, server: ServerRecord) -> None:
    """Cancel the migration of a VM guest away from ``server``. Raises ``LabError`` when none is under way."""
    with connect(paths.server(server.name)) as host:
        host.lookupByUUIDString(guest.uuid).abortJob()


def require_libvirt(server: ServerRecord) -> None:
    """Raises ``LabError`` when VMs cannot run on ``server``."""
    if not server.libvirt:
        raise LabError(f"server {server.name} has no libvirt (the lab was brought up without): run containers on it")


def run_in_machine(
    paths: LabPaths, guest: GuestRecord, command: Sequence[str], within_s: float = EXEC_WITHIN_S
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` by the VM guest's own shell, over virtio-serial, and wait for it.

    What it prints, on either stream, is the result's ``stdout``. Raises ``LabError`` when the guest does not answer.
    """
    path = paths.server(guest.server).run / _exec_socket(guest)
    lines: list[str] = []
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(within_s)
            channel.connect(str(path))
            channel.sendall(f"{join(command)}\n".encode())
            with channel.makefile(encoding="utf-8", errors="replace") as output:
                for line in output:
                    if line.startswith("outrider-exit "):
                        return subprocess.CompletedProcess(list(command), int(line.split()[1]), "".join(lines), "")
                    lines.append(line)
    except OSError as error:
        raise LabError(f"guest {guest.name} does not answer on its serial port: {error}") from None
    raise LabError(f"guest {guest.name} ended before the command did")
