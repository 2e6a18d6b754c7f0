"""The agent as a process: the adapters of one server, the loop that uses them, and its two conversations."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from outrider.agent.connection import ControllerConnection, new_instance
from outrider.agent.control import ControlSocket
from outrider.agent.files import AgentFiles
from outrider.agent.loop import AgentConfig, AgentLoop
from outrider.appliances.local import LocalAppliances
from outrider.bootstrap.process import CannotRun, listen_for_root, run_until_stopped
from outrider.hypervisors.combined import CombinedHypervisor, Member
from outrider.hypervisors.containers import ContainerHypervisor
from outrider.hypervisors.libvirt import LibvirtHypervisor
from outrider.links.netlink import NetlinkLinks
from outrider.session.agent import AgentSession
from outrider.session.messages import BadMessage
from outrider.steering.backend import EbpfSteering, PortRefused

GUARD_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What the command line of an agent says. ``controller`` is ``unix:PATH``."""

    server: str
    state_dir: Path
    controller: str
    tunnel_interface: str
    tunnel_address: str
    hook_socket: Path
    cache_dir: Path
    container_dir: Path | None = None
    libvirt: str | None = "qemu:///system"
    arm_patterns: Sequence[str] = ("vnet*",)
    appliance_slots: int = 8


def run_agent(options: AgentOptions) -> int:
    """Run the agent of one server; returns the exit code."""
    return run_until_stopped(serve_agent(options))


async def serve_agent(options: AgentOptions) -> None:
    """Serve until cancelled. Raises ``CannotRun``."""
    scheme, _, socket = options.controller.partition(":")
    if scheme != "unix" or not socket:
        raise CannotRun(f"--controller {options.controller}: only unix:PATH is known")
    files = AgentFiles(options.state_dir)
    try:
        files.lock()
        accepted = files.last_intent()
    except BadMessage as error:
        raise CannotRun(f"the saved intent cannot be read, remove it to begin without: {error}") from error
    except BlockingIOError as error:
        raise CannotRun(f"another agent runs here: it has locked {options.state_dir}") from error
    instance = new_instance()
    session = AgentSession(options.server, instance, accepted)
    steering = EbpfSteering(options.server, cache_dir=options.cache_dir)
    loop = AgentLoop(
        AgentConfig(
            options.server,
            options.tunnel_interface,
            options.tunnel_address,
            tuple(options.arm_patterns),
            options.appliance_slots,
        ),
        files,
        session,
        NetlinkLinks(),
        _hypervisor(options),
        LocalAppliances(
            options.server,
            state_dir=options.state_dir / "appliances",
            cache_dir=options.cache_dir,
            guard=_in_loop(steering.guard_appliance_ports),
            entering_mark=steering.entering_mark,
            slots=options.appliance_slots,
        ),
        steering,
        PortRefused,
    )
    connection = ControllerConnection(socket, instance, loop, session, files)
    control = ControlSocket(listen_for_root(options.hook_socket), loop, steering.trace)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run())
        tasks.create_task(connection.run())
        tasks.create_task(control.run())


def _in_loop(guard: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """``guard`` for callers in any thread: the data path has one user at a time, the event loop's thread."""
    loop, home = asyncio.get_running_loop(), threading.get_ident()

    def call(inport: int, outport: int) -> None:
        if threading.get_ident() == home:
            guard(inport, outport)
            return
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def run() -> None:
            try:
                guard(inport, outport)
                done.set_result(None)
            except Exception as error:
                done.set_exception(error)

        loop.call_soon_threadsafe(run)
        done.result(GUARD_WITHIN_S)

    return call


def _hypervisor(options: AgentOptions) -> CombinedHypervisor:
    parts: list[Member] = []
    if options.libvirt:
        parts.append(LibvirtHypervisor(options.libvirt))
    if options.container_dir is not None:
        parts.append(ContainerHypervisor(options.container_dir))
    return CombinedHypervisor(parts)
