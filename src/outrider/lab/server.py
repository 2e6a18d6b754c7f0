"""One server of a lab: namespaces furnished so that a libvirt and an agent feel at home in them.

``/run`` is private, and so are libvirt's own directories; everything else is the machine's. The lab's directory is
bound back into the private ``/run``, so that its sockets are reached under the same path inside and outside.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from outrider.lab import fabric
from outrider.lab.paths import LabPaths
from outrider.lab.processes import Starting, hold_namespaces, require_inside, start_daemon
from outrider.lab.record import ProcessRecord, ServerRecord

READY_S = 60.0
_LIBVIRT_DIRECTORIES = ("/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")


def _bind(source: Path, target: str) -> str:
    return f"mount --bind '{source}' '{target}'"


def _furnish(paths: LabPaths, name: str, holder: ProcessRecord, libvirt: bool) -> None:
    server = paths.server(name)
    inner_home = server.run / paths.home.relative_to("/run") if paths.home.is_relative_to("/run") else None
    commands = ["set -e"]
    if inner_home:
        inner_home.mkdir(parents=True)
        commands.append(_bind(paths.home, str(inner_home)))
    commands.append(f"mount --rbind '{server.run}' /run")
    if libvirt:
        commands.append(_bind(server.etc_libvirt, "/etc/libvirt"))
        for directory in _LIBVIRT_DIRECTORIES:
            private = server.home / directory.strip("/").replace("/", "-")
            private.mkdir()
            commands.append(_bind(private, directory))
    require_inside(holder, ["sh", "-c", "\n".join(commands)], paths.home)


def make_server(paths: LabPaths, switch: ProcessRecord, name: str, index: int, libvirt: bool) -> ServerRecord:
    """Make the namespaces, mounts and cables of one server; nothing runs in it yet."""
    server = paths.server(name)
    for directory in (server.run, server.etc_libvirt, server.state, server.containers):
        directory.mkdir(parents=True)
    holder = hold_namespaces(paths.home, name)
    fabric.quieten(paths, holder)
    _furnish(paths, name, holder, libvirt)
    address = fabric.cable_server(paths, switch, holder, index)
    return ServerRecord(name, index, holder, address, libvirt)


def answers(path: Path) -> bool:
    """True when something accepts connections on the Unix socket ``path``."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def fill_in(template: Sequence[str], values: dict[str, str]) -> list[str]:
    """``template`` with each ``{word}`` replaced; unknown words raise ``KeyError``."""
    return [part.format_map(values) for part in template]


def start_controller(paths: LabPaths, template: Sequence[str]) -> Starting:
    """Start the controller outside all servers. Words: ``{state_dir}``, ``{socket}``."""
    paths.controller_state.mkdir(exist_ok=True)
    values = {"state_dir": str(paths.controller_state), "socket": str(paths.controller_socket)}
    log = paths.log("controller")
    daemon = start_daemon(fill_in(template, values), paths.home, log)
    return Starting(daemon, lambda: answers(paths.controller_socket), READY_S, log)


def agent_words(paths: LabPaths, record: ServerRecord) -> dict[str, str]:
    """The words an agent's command line may use."""
    server = paths.server(record.name)
    return {
        "server": record.name,
        "state_dir": str(server.state),
        "controller": f"unix:{paths.controller_socket}",
        "tunnel_interface": fabric.TUNNEL_INTERFACE,
        "tunnel_address": record.tunnel_address,
        "hook_socket": str(server.hook_socket),
        "container_dir": str(server.containers),
        "libvirt": "qemu:///system" if record.libvirt else "",
    }


def start_agent(paths: LabPaths, record: ServerRecord, template: Sequence[str]) -> Starting:
    """Start a server's agent inside it; it is ready when it takes the hook's requests. Words: ``agent_words``."""
    log = paths.log(f"agent-{record.name}")
    daemon = start_daemon(fill_in(template, agent_words(paths, record)), paths.home, log, record.holder)
    return Starting(daemon, lambda: answers(paths.server(record.name).hook_socket), READY_S, log)
