"""Questions to the rest of the machine: libvirt, the underlay, programs, room, and what speeds VMs up."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from outrider.cli.checkup import Finding, Verdict
from outrider.cli.places import cache_dir
from outrider.cli.uplink import default_route_interface, ipv4_of

LIBVIRT_SOCKET = Path("/run/libvirt/libvirt-sock")
GUEST_MTU = 1500
TUNNEL_OVERHEAD = 50  # outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348)
NEEDED_BYTES = 2 << 30
NEEDED_MEMORY_KIB = 1 << 20

_NET = Path("/sys/class/net")
_PROGRAMS = {
    "clang": "builds the programs",
    "qemu-system-x86_64": "runs guests of the lab, and appliances",
    "suricata": "the engine of suricata-ips",
    "ip": "shows what is there",
}


def check_programs() -> Finding:
    """Whatever Outrider calls from the distribution."""
    missing = [f"{name} ({purpose})" for name, purpose in _PROGRAMS.items() if shutil.which(name) is None]
    if not missing:
        return Finding("programs", Verdict.OK, ", ".join(_PROGRAMS))
    return Finding("programs", Verdict.WARN, f"missing: {', '.join(missing)}", "./run setup installs them")


def check_libvirt() -> Finding:
    """libvirt's daemon answers."""
    try:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.settimeout(5)
            daemon.connect(str(LIBVIRT_SOCKET))
    except OSError as error:
        advice = "start libvirtd to protect this machine's own guests; the lab brings its own"
        return Finding("libvirt", Verdict.WARN, f"does not answer: {error.strerror or error}", advice)
    return Finding("libvirt", Verdict.OK, f"answers at {LIBVIRT_SOCKET}")


def check_hook() -> Finding:
    """The start hook, which arms ports before a guest runs."""
    from outrider.hypervisors.hook import is_installed  # noqa: PLC0415 - an adapter: only when asked

    if is_installed():
        return Finding("libvirt hook", Verdict.OK, "installed")
    advice = "outrider hook install; without it the first frames of a guest may pass before its port is armed"
    return Finding("libvirt hook", Verdict.WARN, "not installed, or of another version", advice)


def check_underlay(interface: str | None = None) -> Finding:
    """Remote hops carry full-size frames only when the underlay has room for the tunnel's header."""
    name = interface or default_route_interface()
    if name is None or not (_NET / name).exists():
        return Finding(
            "underlay", Verdict.WARN, f"no interface {name or 'with a default route'}", "name it: --underlay"
        )
    mtu = int((_NET / name / "mtu").read_text())
    found = f"{name} has MTU {mtu}, address {ipv4_of(name) or 'none'}"
    guests = sorted(_guest_ports_sharing(name))
    if guests:
        advice = "guests there can send tunnel packets themselves: give the tunnel a network of its own"
        return Finding("underlay", Verdict.FAIL, f"{found}, shared with guest ports {', '.join(guests)}", advice)
    if mtu < GUEST_MTU + TUNNEL_OVERHEAD:
        advice = f"guests of MTU {GUEST_MTU} need {GUEST_MTU + TUNNEL_OVERHEAD} for remote hops, else none is chosen"
        return Finding("underlay", Verdict.WARN, found, advice)
    return Finding("underlay", Verdict.OK, found)


def _guest_ports_sharing(interface: str) -> Iterator[str]:
    """Guest-looking ports of the bridge that ``interface`` is, or is a port of."""
    master = _NET / interface / "master"
    bridge = master.resolve().name if master.exists() else interface
    ports = _NET / bridge / "brif"
    for port in ports.iterdir() if ports.is_dir() else ():
        if port.name != interface and port.name.startswith(("vnet", "tap")):
            yield port.name


def check_disk() -> Finding:
    """Room for images and programs."""
    place = cache_dir()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / 2**30:.1f} GiB free under {place}"
    if free >= NEEDED_BYTES:
        return Finding("disk", Verdict.OK, found)
    return Finding(
        "disk", Verdict.FAIL, found, f"{NEEDED_BYTES >> 30} GiB are needed; OUTRIDER_CACHE names another place"
    )


def check_memory() -> Finding:
    """Room for appliances."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0])
    found = f"{available / 2**20:.1f} GiB available"
    if available >= NEEDED_MEMORY_KIB:
        return Finding("memory", Verdict.OK, found)
    return Finding("memory", Verdict.WARN, found, "each appliance VM takes about 256 MiB, the demo 1 GiB")


def check_accelerator() -> Finding:
    """What a virtual CPU really does here, by a real probe."""
    from outrider.appliances.accelerator import Accelerator, observe_accelerator  # noqa: PLC0415 - an adapter

    probe = observe_accelerator()
    found = f"{probe.accelerator.value}: {probe.reason}"
    if probe.accelerator is Accelerator.KVM:
        return Finding("accelerator", Verdict.OK, found)
    return Finding("accelerator", Verdict.WARN, found, "VMs are emulated: they work, and are many times slower")
