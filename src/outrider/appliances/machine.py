"""Appliances as virtual machines: a QEMU process of the agent's, not a libvirt domain.

An appliance is not a guest: it must not appear among the operator's domains, must start without libvirt, and its two
interfaces are ours. It boots its image's kernel directly; everything it needs to know comes on the kernel's command
line or over its virtio-serial port.

The network devices do no offloads, in either direction: what the engine reads is what the wire carries, and
``-cpu max`` because Suricata under emulation forwards nothing, silently, on QEMU's default processor.
"""

from pathlib import Path

from outrider.appliances.accelerator import AcceleratorFinding
from outrider.appliances.images import Image
from outrider.appliances.ports import AppliancePorts, short_id
from outrider.appliances.process import ProcessId
from outrider.appliances.record import ApplianceFolder
from outrider.domain.intent import ApplianceIntent

CONTROL_PORT_NAME = "outrider.control"

_NO_OFFLOADS = ",".join(
    f"{feature}=off"
    for feature in (
        "csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo",
        "guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo",
    )
)  # fmt: skip


def launch_machine(
    intent: ApplianceIntent,
    image: Image,
    folder: ApplianceFolder,
    ports: AppliancePorts,
    mtu: int,
    accelerator: AcceleratorFinding,
) -> ProcessId:
    """Start the VM of ``intent`` on taps that exist; returns at once. Raises ``ProcessTrouble``."""
    command = machine_command(intent, image, folder, ports, mtu, accelerator)
    return ProcessId.spawn(command, folder.path / "qemu.log", tag=str(folder.path))


def machine_command(
    intent: ApplianceIntent,
    image: Image,
    folder: ApplianceFolder,
    ports: AppliancePorts,
    mtu: int,
    accelerator: AcceleratorFinding,
) -> list[str]:
    """QEMU's command line for an appliance; ``mtu`` in bytes is that of both ports."""
    return [
        "qemu-system-x86_64",
        "-name", intent.name,
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-machine", "q35",
        "-accel", accelerator.qemu_option,
        "-cpu", "max",
        "-smp", "1",
        "-m", f"{intent.appliance_class.memory_mib}M",
        "-kernel", str(image.kernel),
        "-initrd", str(image.initrd),
        "-append", f"{image.options} outrider.mtu={mtu}",
        "-serial", f"file:{folder.console}",
        "-qmp", _listening(folder.qmp_socket),
        "-chardev", f"socket,id=control,path={folder.control_socket},server=on,wait=off",
        "-device", "virtio-serial-pci",
        "-device", f"virtserialport,chardev=control,name={CONTROL_PORT_NAME}",
        *_network("in", ports.inport, mtu, intent.name),
        *_network("out", ports.outport, mtu, intent.name),
    ]  # fmt: skip


def _listening(path: Path) -> str:
    return f"unix:{path},server=on,wait=off"


def _network(side: str, tap: str, mtu: int, appliance: str) -> list[str]:
    # Never seen on any wire: the engine bridges, and sends nothing of its own.
    last = {"in": "01", "out": "02"}[side]
    address = ":".join(("02", *(short_id(appliance)[i : i + 2] for i in range(0, 8, 2)), last))
    return [
        "-netdev", f"tap,id={side},ifname={tap},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev={side},mac={address},host_mtu={mtu},romfile=,{_NO_OFFLOADS}",
    ]  # fmt: skip
