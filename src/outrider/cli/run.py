"""Commands that stay: up, controller, agent. What they start is wired in ``outrider.bootstrap``."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outrider.cli.exits import USAGE, CliError
from outrider.cli.places import AGENT_SOCKET, CONTROLLER_SOCKET, STATE_DIR, cache_dir
from outrider.cli.privilege import require_root
from outrider.cli.uplink import default_uplink
from outrider.domain.names import check_name

if TYPE_CHECKING:
    from outrider.bootstrap.agent import AgentOptions

StateDirOption = Annotated[Path, typer.Option(help="Where state is kept.")]
SocketOption = Annotated[Path, typer.Option(help="The socket of the API.")]
ServerNameOption = Annotated[
    str | None, typer.Option("--server", metavar="NAME", help="This server's name. Default: its host name.")
]
TunnelInterfaceOption = Annotated[
    str | None, typer.Option(help="The interface towards the other servers. Default: that of the default route.")
]
TunnelAddressOption = Annotated[
    str | None, typer.Option(metavar="IPV4", help="This server's address there. Default: the interface's own.")
]
HookSocketOption = Annotated[Path, typer.Option(help="Where the libvirt hook and operators reach this agent.")]
ContainerDirOption = Annotated[
    Path | None, typer.Option(help="Descriptions of container guests (the lab's); none by default.")
]
LibvirtOption = Annotated[str, typer.Option(metavar="URI", help="libvirt's address; empty for none.")]
ArmPatternOption = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Ports to arm as soon as they appear; may be repeated. Default: vnet*"),
]
SlotsOption = Annotated[int, typer.Option(min=0, max=1024, help="How many appliances this server may run.")]


def controller(state_dir: StateDirOption = STATE_DIR, socket: SocketOption = CONTROLLER_SOCKET) -> int:
    """Run a controller: policies and observations in, one intent per server out."""
    from outrider.bootstrap.controller import run_controller  # noqa: PLC0415 - adapters are slow to import

    return run_controller(state_dir, socket)


def agent(
    server: ServerNameOption = None,
    state_dir: StateDirOption = STATE_DIR / "agent",
    controller: Annotated[str, typer.Option(metavar="ADDRESS", help="unix:PATH")] = f"unix:{CONTROLLER_SOCKET}",
    tunnel_interface: TunnelInterfaceOption = None,
    tunnel_address: TunnelAddressOption = None,
    hook_socket: HookSocketOption = AGENT_SOCKET,
    container_dir: ContainerDirOption = None,
    libvirt: LibvirtOption = "qemu:///system",
    arm_pattern: ArmPatternOption = None,
    appliance_slots: SlotsOption = 8,
) -> int:
    """Run this server's agent: it steers packets and keeps appliances. Needs root."""
    require_root("the agent attaches programs to network ports")
    from outrider.bootstrap.agent import run_agent  # noqa: PLC0415

    options = _agent_options(
        server, state_dir, controller, tunnel_interface, tunnel_address, hook_socket, container_dir, libvirt,
        arm_pattern, appliance_slots,
    )  # fmt: skip
    return run_agent(options)


def up(
    server: ServerNameOption = None,
    state_dir: StateDirOption = STATE_DIR,
    socket: SocketOption = CONTROLLER_SOCKET,
    tunnel_interface: TunnelInterfaceOption = None,
    tunnel_address: TunnelAddressOption = None,
    hook_socket: HookSocketOption = AGENT_SOCKET,
    container_dir: ContainerDirOption = None,
    libvirt: LibvirtOption = "qemu:///system",
    arm_pattern: ArmPatternOption = None,
    appliance_slots: SlotsOption = 8,
) -> int:
    """Run controller and agent in one process: Outrider on a single server. Needs root."""
    require_root("the agent attaches programs to network ports")
    from outrider.bootstrap.up import run_up  # noqa: PLC0415

    options = _agent_options(
        server, state_dir / "agent", f"unix:{socket}", tunnel_interface, tunnel_address, hook_socket, container_dir,
        libvirt, arm_pattern, appliance_slots,
    )  # fmt: skip
    return run_up(state_dir, socket, options)


def _agent_options(
    server: str | None,
    state_dir: Path,
    controller: str,
    tunnel_interface: str | None,
    tunnel_address: str | None,
    hook_socket: Path,
    container_dir: Path | None,
    libvirt: str,
    arm_pattern: list[str] | None,
    appliance_slots: int,
) -> "AgentOptions":
    from outrider.bootstrap.agent import AgentOptions  # noqa: PLC0415

    interface, address = _tunnel(tunnel_interface, tunnel_address)
    return AgentOptions(
        server=_server_name(server),
        state_dir=state_dir,
        controller=controller,
        tunnel_interface=interface,
        tunnel_address=address,
        hook_socket=hook_socket,
        cache_dir=cache_dir(),
        container_dir=container_dir,
        libvirt=libvirt or None,
        arm_patterns=tuple(arm_pattern or ("vnet*",)),
        appliance_slots=appliance_slots,
    )


def _server_name(given: str | None) -> str:
    name = given or socket.gethostname().partition(".")[0].lower()
    try:
        return check_name(name)
    except ValueError as error:
        raise CliError(USAGE, f"--server: {error}") from error


def _tunnel(interface: str | None, address: str | None) -> tuple[str, str]:
    try:
        return default_uplink(interface, address)
    except ValueError as error:
        raise CliError(USAGE, str(error)) from error
