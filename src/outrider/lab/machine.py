"""Guests that are virtual machines: libvirt domains, booted from a kernel and an initrd, live-migrated for real.

Everything is asked of each server's own libvirt over its socket, from outside the server. A domain is transient: when
it stops, or has moved away, that libvirt knows it no more.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import libvirt

from outrider.hypervisors.description import labels_xml
from outrider.lab import fabric
from outrider.lab.paths import LabError, LabPaths, ServerPaths
from outrider.lab.record import GuestRecord, ServerRecord

MEMORY_MIB = 128


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What a VM guest boots; ``command_line`` is added to the kernel's."""

    kernel: Path
    initrd: Path
    command_line: str = ""


ImageSource = Callable[[], GuestImage]


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
    address, _, length = guest.address.partition("/")
    command_line = (
        "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on audit=0 tsc=reliable nowatchdog "
        f"outrider.address={address}/{length} outrider.name={guest.name} {image.command_line}"
    ).strip()
    return f"""\
<domain type='qemu'>
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
    <serial type='file'><source path='/var/log/libvirt/console-{escape(guest.name)}.log'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


def start_machine(paths: LabPaths, guest: GuestRecord, server: ServerRecord, image: GuestImage) -> None:
    """Start a VM guest on ``server``. Returns when its QEMU runs; the guest answers a second or two later."""
    with connect(paths.server(server.name)) as host:
        host.createXML(domain_xml(guest, image), 0)


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
