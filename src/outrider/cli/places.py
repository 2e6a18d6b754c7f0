"""Where the controller and the agents of this machine are.

A person who started ``outrider lab up`` should not have to type socket paths: when no controller of the machine's own
runs and the default lab does, that one is meant.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

CONTROLLER_SOCKET = Path("/run/outrider/controller.sock")
AGENT_SOCKET = Path("/run/outrider/agent.sock")
LABS = Path("/run/outrider/lab")
DEFAULT_LAB = "lab"
STATE_DIR = Path("/var/lib/outrider")
CACHE_DIR = Path("/var/cache/outrider")

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="OUTRIDER_SERVER",
        metavar="ADDRESS",
        help="The controller: unix:PATH or http://HOST:PORT. "
        f"Default: {CONTROLLER_SOCKET}, or the running lab's when only that exists.",
    ),
]
AgentOption = Annotated[
    Path | None,
    typer.Option(
        "--agent",
        envvar="OUTRIDER_AGENT",
        metavar="SOCKET",
        help=f"The agent's local socket. Default: {AGENT_SOCKET}, or those of the running lab.",
    ),
]


def controller_address(given: str | None) -> str:
    """The address to ask: ``given``, the machine's own controller, or the default lab's."""
    if given:
        return given if "://" in given or given.startswith("unix:") else f"unix:{given}"
    lab = LABS / DEFAULT_LAB / "controller.sock"
    return f"unix:{lab if lab.exists() and not CONTROLLER_SOCKET.exists() else CONTROLLER_SOCKET}"


def agent_sockets(given: Path | None) -> list[Path]:
    """The sockets of this machine's agents: ``given``, its own agent's, or those of the default lab."""
    if given is not None:
        return [given]
    in_lab = sorted((LABS / DEFAULT_LAB / "servers").glob("*/hook.sock"))
    return in_lab if in_lab and not AGENT_SOCKET.exists() else [AGENT_SOCKET]


def cache_dir() -> Path:
    """Where built programs and images are kept (``OUTRIDER_CACHE``)."""
    return Path(os.environ.get("OUTRIDER_CACHE") or CACHE_DIR)
