"""Commands that ask why: events, explain, trace; and release, for when there is no time to ask."""

import json
import os
import pwd
import sys
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outrider.cli.ask import ask_agents, ask_controller
from outrider.cli.exits import FAILED, REFUSED, USAGE, CliError
from outrider.cli.frames import Flow, Protocol, craft_frame
from outrider.cli.objects import require_guest
from outrider.cli.output import Format, FormatOption, print_data
from outrider.cli.places import AgentOption, ServerOption, agent_sockets

if TYPE_CHECKING:
    from outrider.api.client import ApiClient

GuestWord = Annotated[str, typer.Argument(metavar="guest")]
GuestName = Annotated[str, typer.Argument(metavar="NAME", help="The guest's name or UUID.")]


class Direction(StrEnum):
    """Relative to the guest."""

    EGRESS = "egress"
    INGRESS = "ingress"


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until interrupted.")] = False,
    output: FormatOption = Format.TABLE,
    server: ServerOption = None,
) -> None:
    """Show what happened, oldest first. With -o json: one JSON object per line."""

    async def show(client: "ApiClient") -> None:
        async for event in client.events(follow):
            print(json.dumps(event, ensure_ascii=False) if output is Format.JSON else _event_line(event), flush=True)
        if follow:
            raise CliError(FAILED, "the controller ended the stream of events")

    ask_controller(server, show)


def _event_line(event: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(event["time"]).astimezone().isoformat(sep=" ", timespec="milliseconds")
    subject = f"{event['kind']}/{event['name']}"
    return f"{when[:23]}  {event['type']:<7}  {event['reason']:<20}  {subject}: {event['message']}"


def explain(
    guest: GuestWord, name: GuestName, output: FormatOption = Format.TABLE, server: ServerOption = None
) -> None:
    """Say why a guest's packets go the way they go."""
    require_guest(guest)
    lines = ask_controller(server, lambda client: client.explain(name))
    if output in (Format.JSON, Format.YAML):
        print_data({"guest": name, "lines": lines}, output)
    else:
        print("\n".join(lines))


def trace(
    guest: GuestWord,
    name: GuestName,
    direction: Annotated[Direction, typer.Option(help="From the guest, or to it.")] = Direction.EGRESS,
    protocol: Annotated[Protocol, typer.Option(help="What the packet carries.")] = Protocol.TCP,
    guest_ip: Annotated[str, typer.Option(metavar="IPV4", help="The guest's address in the packet.")] = "192.0.2.1",
    other_ip: Annotated[str, typer.Option(metavar="IPV4", help="The other end's address.")] = "198.51.100.1",
    guest_port: Annotated[int, typer.Option(min=0, max=65535)] = 40000,
    other_port: Annotated[int, typer.Option(min=0, max=65535)] = 80,
    packet: Annotated[str | None, typer.Option(metavar="HEX", help="A whole frame instead of a crafted one.")] = None,
    output: FormatOption = Format.TABLE,
    agent: AgentOption = None,
) -> None:
    """Ask the live programs what they would do with a packet; nothing is sent, nothing is counted."""
    require_guest(guest)
    from_guest = direction is Direction.EGRESS
    here, there = (guest_ip, guest_port), (other_ip, other_port)
    source, destination = (here, there) if from_guest else (there, here)
    flow = Flow(protocol, source[0], destination[0], source[1], destination[1])
    frame = _frame_given(packet) if packet else _frame_of(flow, from_guest)
    request = {"op": "trace", "guest": name, "direction": direction.value, "packet": frame.hex()}
    answers = ask_agents(agent_sockets(agent), request)
    lines = [str(line) for answer in answers for line in answer.get("lines", [])]
    if output in (Format.JSON, Format.YAML):
        print_data({"guest": name, "direction": direction.value, "packet": frame.hex(), "lines": lines}, output)
    else:
        print("\n".join(lines))


def _frame_of(flow: Flow, from_guest: bool) -> bytes:
    try:
        return craft_frame(flow, from_guest)
    except ValueError as error:
        raise CliError(USAGE, str(error)) from error


def _frame_given(packet: str) -> bytes:
    try:
        frame = bytes.fromhex(packet)
    except ValueError as error:
        raise CliError(USAGE, f"--packet is not hex: {error}") from error
    if not 14 <= len(frame) <= 65535:
        raise CliError(REFUSED, f"--packet has {len(frame)} octets: an Ethernet frame has 14 to 65535")
    return frame


def release(
    guest: GuestWord,
    name: GuestName,
    undo: Annotated[bool, typer.Option("--undo", help="End the bypass: inspect again.")] = False,
    agent: AgentOption = None,
) -> None:
    """EMERGENCY: let a guest's packets pass uninspected. Needs no controller; is written to the audit log."""
    require_guest(guest)
    request = {"op": "release", "guest": name, "undo": undo, "who": _who()}
    answers = ask_agents(agent_sockets(agent), request)
    vnics = [str(vnic) for answer in answers for vnic in answer.get("vnics", [])]
    state = "is inspected again" if undo else "now passes UNINSPECTED"
    for vnic in vnics:
        print(f"{name} ({vnic}) {state}")
    if not undo:
        print(f"warning: end this with: outrider release guest {name} --undo", file=sys.stderr)


def _who() -> str:
    """The person behind this process, as far as it can be known: who called sudo, else the user."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    caller = os.environ.get("SUDO_USER")
    return f"{caller} (as {user})" if caller and caller != user else user
