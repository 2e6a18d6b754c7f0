"""Talking to the engine of an appliance: over its own socket in a container, over virtio-serial in a VM.

Suricata speaks JSON lines on a Unix socket (its manual, "Interacting via Unix Socket", protocol 0.2). In a VM a small
program (``inside/agent.c``) stands between the virtio-serial port and that socket, and takes rules as well, since the
host cannot write the VM's files. Every request to it carries a number, so that an answer meant for an earlier agent,
killed while it waited, is never taken for ours.
"""

import itertools
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

_request_numbers = itertools.count(time.monotonic_ns())


class ControlTrouble(Exception):
    """The engine could not be asked, or refused; the message says which."""


class Unreachable(ControlTrouble):
    """Nothing listens: the engine is not that far, or gone."""


class Silent(ControlTrouble):
    """No answer within the time allowed, or the other side went away instead of answering."""


class Control(Protocol):
    """What the host can ask of an engine. All calls block, for a bounded time, and raise ``ControlTrouble``."""

    def call(self, command: str, arguments: Mapping[str, str] | None = None) -> Any:
        """One command of Suricata's socket; returns its ``message``."""
        ...

    def store_rules(self, text: str) -> None:
        """Put ``text`` where the engine reads its rules; it takes effect at the next start or reload."""
        ...


class LocalControl:
    """An engine whose socket and rule file are in a folder of this server."""

    def __init__(self, engine_socket: Path, rules: Path, within_s: float) -> None:
        """``within_s`` bounds the wait for one answer."""
        self._socket = engine_socket
        self._rules = rules
        self._within_s = within_s

    def call(self, command: str, arguments: Mapping[str, str] | None = None) -> Any:
        with _connect(self._socket, self._within_s) as connection:
            lines = _Lines(connection)
            _message_of("greeting", lines.ask(json.dumps({"version": "0.2"})))
            return _message_of(command, lines.ask(_request(command, arguments)))

    def store_rules(self, text: str) -> None:
        fresh = self._rules.with_suffix(".fresh")
        fresh.write_text(text)
        fresh.replace(self._rules)


class SerialControl:
    """An engine in a VM, behind the character device socket of its virtio-serial port."""

    def __init__(self, device_socket: Path, within_s: float) -> None:
        """``within_s`` bounds one request; the first one after the start waits for the VM to boot."""
        self._socket = device_socket
        self._within_s = within_s

    def call(self, command: str, arguments: Mapping[str, str] | None = None) -> Any:
        return _message_of(command, self._ask("CALL", _request(command, arguments).encode()))

    def store_rules(self, text: str) -> None:
        answer = self._ask("RULES", text.encode())
        if answer != "OK":
            raise ControlTrouble(f"the appliance did not take its rules: {answer}")

    def uptime_s(self) -> float:
        """Seconds since the VM's kernel started."""
        return float(self._ask("UPTIME", b""))

    def _ask(self, verb: str, body: bytes) -> str:
        number = str(next(_request_numbers))
        with _connect(self._socket, self._within_s) as connection:
            lines = _Lines(connection)
            connection.sendall(f"{verb} {number} {len(body)}\n".encode() + body)
            while True:
                answered, _, answer = lines.read().partition(" ")
                if answered == number:
                    return answer


class _Lines:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def ask(self, line: str) -> str:
        self._connection.sendall(line.encode() + b"\n")
        return self.read()

    def read(self) -> str:
        while b"\n" not in self._rest:
            try:
                some = self._connection.recv(65536)
            except TimeoutError as error:
                raise Silent(f"the engine gave no answer in {self._connection.gettimeout():.0f} s") from error
            except OSError as error:
                raise Silent(f"the engine's socket broke: {error}") from error
            if not some:
                raise Silent("the engine closed its socket")
            self._rest += some
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace")


def _connect(path: Path, within_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(within_s)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise Unreachable(f"the engine cannot be reached: {error.strerror or error}") from error
    return connection


def _request(command: str, arguments: Mapping[str, str] | None) -> str:
    request: dict[str, Any] = {"command": command}
    if arguments:
        request["arguments"] = dict(arguments)
    return json.dumps(request)


def _message_of(command: str, line: str) -> Any:
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise ControlTrouble(f"the engine's answer to {command} is not JSON: {line[:80]!r}") from error
    if answer.get("return") != "OK":
        raise ControlTrouble(f"the engine refused {command}: {answer.get('message', 'no reason given')}")
    return answer.get("message")
