"""Each server's own libvirt: its settings, its start, and a remembered answer to its slowest question.

A fresh libvirtd spends seconds asking QEMU what it can do. The answers are files that libvirtd checks for staleness
itself (QEMU, kernel, microcode), so they are kept beside the images and given to the next daemon.
"""

import shutil
import uuid
from pathlib import Path

from outrider.hypervisors.hook import install_hook
from outrider.lab.paths import LabError, LabPaths, ServerPaths
from outrider.lab.processes import Starting, is_alive, kill_process, record_of, start_daemon, wait_until
from outrider.lab.record import ServerRecord

READY_S = 60.0
_PID_FILE = "libvirtd.pid"
_CAPABILITIES = "libvirt-capabilities"
_QEMU_SETTINGS = """\
# a lab server is itself the sandbox: its guests need none of their own
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
max_core = 0
"""


def _daemon_settings(name: str) -> str:
    # two daemons with one host UUID would refuse to migrate between each other
    return f"""\
host_uuid = "{uuid.uuid5(uuid.NAMESPACE_DNS, f'{name}.{uuid.uuid4()}')}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
log_level = 3
log_outputs = "3:stderr"
"""


def _capabilities(server: ServerPaths) -> Path:
    return server.home / "var-cache-libvirt" / "qemu" / "capabilities"


def _recall_capabilities(server: ServerPaths, cache: Path) -> None:
    if cache.is_dir():
        shutil.copytree(cache, _capabilities(server), dirs_exist_ok=True)


def remember_capabilities(server: ServerPaths, cache: Path) -> None:
    """Keep what this server's libvirt found out for the next one; ``cache`` as in ``start_libvirt``."""
    probed, cache = _capabilities(server), cache / _CAPABILITIES
    if not probed.is_dir() or not any(probed.iterdir()):
        return
    cache.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(probed, cache, dirs_exist_ok=True)


def configure_libvirt(paths: LabPaths, name: str, *, with_hook: bool) -> None:
    """Write a server's ``/etc/libvirt``; with the hook when its agent will be there to answer."""
    server = paths.server(name)
    (server.etc_libvirt / "qemu.conf").write_text(_QEMU_SETTINGS)
    (server.etc_libvirt / "libvirtd.conf").write_text(_daemon_settings(name))
    if with_hook:
        install_hook(server.hook_socket, server.etc_libvirt / "hooks")


def start_libvirt(paths: LabPaths, record: ServerRecord, cache: Path) -> Starting:
    """Start a server's libvirtd; it is ready when it has answered a first question.

    ``cache`` is the directory where capability probes are kept between labs.
    """
    server = paths.server(record.name)
    _recall_capabilities(server, cache / _CAPABILITIES)
    log = paths.log(f"libvirtd-{record.name}")
    command = ["libvirtd", "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", f"/run/{_PID_FILE}"]
    return Starting(start_daemon(command, paths.home, log, record.holder), lambda: _answers(server), READY_S, log)


def _answers(server: ServerPaths) -> bool:
    """True when the daemon accepts a connection and knows what its QEMU can do."""
    if not server.libvirt_socket.exists():
        return False
    from outrider.lab.machine import connect  # noqa: PLC0415  (libvirt's bindings only where a lab has libvirt)

    try:
        with connect(server) as host:
            host.getCapabilities()
    except LabError:
        return False
    return True


def stop_libvirt(paths: LabPaths, record: ServerRecord) -> None:
    """Kill a server's libvirtd, as a crash would; its guests run on. For tests, and before ``start_libvirt``."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_libvirtd_of(entry, record):
            process = record_of(int(entry.name))
            kill_process(process.pid, paths.home)
            wait_until(lambda process=process: not is_alive(process), READY_S, "the end of libvirtd")  # type: ignore[misc]


def _is_libvirtd_of(process: Path, record: ServerRecord) -> bool:
    try:
        if (process / "comm").read_text().strip() != "libvirtd":
            return False
        return (process / "ns/net").readlink() == Path(f"/proc/{record.holder.pid}/ns/net").readlink()
    except OSError:
        return False
