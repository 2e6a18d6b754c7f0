"""``outrider hook``: libvirt's start hook, which has the agent arm a guest's ports before the guest runs."""

from pathlib import Path
from typing import Annotated

import typer

from outrider.cli.exits import REFUSED, CliError
from outrider.cli.places import AGENT_SOCKET
from outrider.cli.privilege import require_root

app = typer.Typer(help="libvirt's start hook: install, uninstall.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def install(
    agent: Annotated[Path, typer.Option(metavar="SOCKET", help="Where the agent will listen.")] = AGENT_SOCKET,
) -> None:
    """Install the hook beside those that are there; libvirtd reads new hooks when it restarts."""
    require_root("the hook belongs to libvirt's configuration")
    from outrider.hypervisors.hook import HookRefused, install_hook  # noqa: PLC0415 - an adapter: only when asked

    try:
        print(f"installed {install_hook(agent)}; restart libvirtd so that it is called")
    except HookRefused as error:
        raise CliError(REFUSED, str(error)) from error


@app.command()
def uninstall() -> None:
    """Take the hook away, and nothing else."""
    require_root("the hook belongs to libvirt's configuration")
    from outrider.hypervisors.hook import HookRefused, uninstall_hook  # noqa: PLC0415

    try:
        uninstall_hook()
    except HookRefused as error:
        raise CliError(REFUSED, str(error)) from error
