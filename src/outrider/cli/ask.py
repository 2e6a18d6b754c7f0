"""Asking a controller or an agent from the command line, and turning their refusals into exit codes."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from outrider.cli.exits import FAILED, NOT_FOUND, REFUSED, UNREACHABLE, CliError
from outrider.cli.places import controller_address

if TYPE_CHECKING:
    from outrider.api.client import ApiClient

T = TypeVar("T")

AGENT_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 16 << 20


def ask_controller(server: str | None, question: "Callable[[ApiClient], Awaitable[T]]") -> T:
    """What ``question`` gets from the controller at ``server``. Raises ``CliError``."""
    from outrider.api.client import ApiClient, Refused, Unreachable  # noqa: PLC0415 - aiohttp is slow to import

    async def ask() -> T:
        async with ApiClient(controller_address(server)) as client:
            return await question(client)

    try:
        return asyncio.run(ask())
    except Unreachable as error:
        raise CliError(UNREACHABLE, f"{error}; is it running? (outrider up, or outrider lab up)") from error
    except Refused as error:
        raise CliError(_code_of(error.status), *error.problems) from error


def _code_of(status: int) -> int:
    if status == 404:
        return NOT_FOUND
    return REFUSED if status < 500 else FAILED


def ask_agent(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The answer of the agent at ``path`` to one request. Raises ``CliError`` when it cannot be had.

    An answer of ``{"ok": false}`` is returned as it is: whether it matters is for the caller to say.
    """
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(AGENT_TIMEOUT_S)
            agent.connect(str(path))
            agent.sendall(json.dumps(request).encode() + b"\n")
            answer = _read_line(agent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CliError(UNREACHABLE, f"no agent answers at {path}: {reason}") from error
    try:
        content = json.loads(answer)
    except ValueError as error:
        raise CliError(UNREACHABLE, f"the agent at {path} gave no answer that can be read") from error
    return content if isinstance(content, dict) else {}


def _read_line(agent: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"\n") and len(answer) <= MAX_ANSWER_BYTES:
        part = agent.recv(65536)
        if not part:
            break
        answer += part
    return answer


def ask_agents(paths: list[Path], request: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers of those agents that know what is asked about.

    Raises ``CliError``: the one agent's own reason, or, of several, the last reason when none could answer.
    """
    answers, failures = [], []
    for path in paths:
        try:
            answer = ask_agent(path, request)
        except CliError as error:
            failures.append(error)
            continue
        if answer.get("ok"):
            answers.append(answer)
        else:
            failures.append(CliError(_agent_code(answer), str(answer.get("error", "refused without a reason"))))
    if not answers:
        raise max(failures, key=lambda failure: failure.code == REFUSED)
    return answers


def _agent_code(answer: dict[str, Any]) -> int:
    return NOT_FOUND if str(answer.get("error", "")).startswith("no guest") else REFUSED
