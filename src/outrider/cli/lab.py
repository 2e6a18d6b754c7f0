"""``outrider lab``: a whole virtual infrastructure on this machine, to try things on and to rehearse."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from outrider.cli.exits import FAILED, USAGE, CliError
from outrider.cli.places import cache_dir
from outrider.cli.privilege import require_root

if TYPE_CHECKING:
    from outrider.lab.lab import Lab

app = typer.Typer(
    help="A virtual infrastructure on this machine: servers, guests and clients in namespaces.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LabOption = Annotated[str, typer.Option("--lab", metavar="NAME", help="Which lab; several can be up at once.")]
DEFAULT_LAB = "lab"


class GuestFormat(StrEnum):
    """The choices of ``--format``."""

    VM = "vm"
    CONTAINER = "container"


class StatusFormat(StrEnum):
    """The choices of ``-o``."""

    TABLE = "table"
    JSON = "json"


@contextmanager
def _lab(name: str) -> Iterator["Lab"]:
    """The lab of that name; its errors end the program with their one sentence."""
    require_root("a lab is made of namespaces")
    from outrider.lab.lab import Lab  # noqa: PLC0415 - libvirt's bindings are slow to import
    from outrider.lab.paths import LabError  # noqa: PLC0415

    try:
        yield Lab(name, cache=cache_dir())
    except LabError as error:
        raise CliError(FAILED, str(error)) from error
    except OSError as error:  # no disk, no memory, a program that is not installed
        raise CliError(FAILED, f"the machine refused: {error}") from error


def _labels(pairs: Sequence[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise CliError(USAGE, f"--label {pair}: write KEY=VALUE")
        labels[key] = value
    return labels


@app.command()
def up(
    servers: Annotated[int, typer.Option(help="How many virtual servers: s1, s2, …")] = 3,
    lab: LabOption = DEFAULT_LAB,
    libvirt: Annotated[bool, typer.Option(help="Without, guests can only be containers, and it is quicker.")] = True,
    outrider: Annotated[bool, typer.Option(help="Start the controller and an agent on each server.")] = True,
) -> None:
    """Bring a lab up, or add servers to one that is."""
    from outrider.lab import commands  # noqa: PLC0415

    with _lab(lab) as here:
        record = here.up(
            servers,
            libvirt=libvirt,
            controller=commands.CONTROLLER if outrider else (),
            agent=commands.AGENT if outrider else (),
        )
    print(f"lab {lab} is up with the servers {', '.join(record.servers)}; its logs are in {here.paths.logs}")


@app.command()
def down(lab: LabOption = DEFAULT_LAB) -> None:
    """Remove a lab, and whatever a killed run left of it."""
    with _lab(lab) as here:
        here.down()
        if left := here.left_behind():
            raise CliError(FAILED, f"something of lab {lab} is still there:", *left)


@app.command()
def status(
    lab: LabOption = DEFAULT_LAB,
    output: Annotated[StatusFormat, typer.Option("--output", "-o", help="table for people, json for scripts.")] = (
        StatusFormat.TABLE
    ),
) -> None:
    """Say what is in a lab."""
    with _lab(lab) as here:
        record = here.status()
    if output is StatusFormat.JSON:
        print(json.dumps({"lab": lab, "home": str(here.paths.home), **asdict(record)}, indent=2))
        return
    for server in record.servers.values():
        what = ("libvirt" if server.libvirt else "no libvirt") + (", agent" if server.agent else ", no agent")
        print(f"server  {server.name:<16} {server.tunnel_address:<18} pid {server.holder.pid} ({what})")
    for guest in record.guests.values():
        labels = ",".join(f"{key}={value}" for key, value in guest.labels.items())
        print(f"guest   {guest.name:<16} {guest.address:<18} {guest.format} on {guest.server} {labels}".rstrip())
    for client in record.clients.values():
        print(f"client  {client.name:<16} {client.address:<18} pid {client.holder.pid}")


@app.command()
def run(
    name: str,
    server: Annotated[str, typer.Option(help="Where it starts.")],
    ip: Annotated[str, typer.Option(metavar="ADDRESS", help="IPv4, with /LENGTH unless it is /24.")],
    format: Annotated[GuestFormat, typer.Option(help="A libvirt VM, or a namespace.")] = GuestFormat.VM,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")] = None,
    lab: LabOption = DEFAULT_LAB,
) -> None:
    """Start a guest."""
    with _lab(lab) as here:
        guest = here.run_guest(name, server, format.value, ip=ip, labels=_labels(label or []))
    print(f"{guest.name} ({guest.uuid}) is started on {guest.server} with address {guest.address}")


@app.command()
def stop(name: str, lab: LabOption = DEFAULT_LAB) -> None:
    """End a guest."""
    with _lab(lab) as here:
        here.stop_guest(name)


@app.command()
def client(
    name: str,
    ip: Annotated[str, typer.Option(metavar="ADDRESS", help="IPv4, with /LENGTH unless it is /24.")],
    lab: LabOption = DEFAULT_LAB,
) -> None:
    """Put an unprotected machine on the fabric."""
    with _lab(lab) as here:
        made = here.client(name, ip)
    print(f"{made.name} is on the fabric with address {made.address}")


@app.command()
def migrate(
    name: str,
    server: str,
    bandwidth: Annotated[int | None, typer.Option(min=1, metavar="MIB/S", help="Stretch a VM's move.")] = None,
    lab: LabOption = DEFAULT_LAB,
) -> None:
    """Move a running guest to another server."""
    with _lab(lab) as here:
        moved = here.migrate(name, server, bandwidth)
    print(f"{moved.name} runs on {moved.server}")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def exec(
    name: str,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="After `--`, with its arguments.")],
    lab: LabOption = DEFAULT_LAB,
) -> None:
    """Run a command in a guest, a client or a server; ends with its exit code."""
    words = command[1:] if command[0] == "--" else command
    with _lab(lab) as here:
        code = here.attend(name, words)
    sys.exit(code)
