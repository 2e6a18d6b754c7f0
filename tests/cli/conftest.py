"""A small controller in this process: the real API on a Unix socket, in front of a state made up for the tests."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from outrider.api.app import create_app
from outrider.api.state import Row
from outrider.cli.main import run_command
from outrider.store.declared import DeclaredObjects
from outrider.store.memory import MemoryStore

UUID = "6f0e8b52-3c1d-4a6e-9d57-2f1b8c0a4e11"
MAC = "52:54:00:00:00:01"

GUESTS: list[Row] = [
    {
        "name": "web-1", "uuid": UUID, "server": "s1", "state": "running", "labels": {"tier": "web"},
        "policy": "web-tier", "vnics": [{"mac": MAC, "port": "vnet0", "refused": None}],
    }
]  # fmt: skip
WIRES: list[Row] = [
    {
        "id": f"s1/{UUID}/{MAC}", "guest": "web-1", "uuid": UUID, "mac": MAC, "server": "s1", "port": "vnet0",
        "state": "path", "policy": "web-tier", "reason": "a ready appliance is here", "openReason": None,
        "path": [{"appliance": "suricata-ips-s1-1", "server": "s1", "lane": 7, "remote": False}], "applied": True,
        "released": False, "seenAt": 1.0, "armedAt": 1.01, "runningAt": 1.5, "activeSince": 2.0,
        "framesBeforeArming": 0, "counters": {"passed_egress": {"frames": 12345, "bytes": 1}},
    }
]  # fmt: skip
EVENTS: list[Row] = [
    {
        "sequence": n,
        "time": 1e9 + n,
        "type": "Normal",
        "reason": "MoveSeen",
        "kind": "Move",
        "name": "web-1",
        "message": "m",
    }
    for n in (1, 2)
]


class FakeState:
    """Satisfies ``ApiState``."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.declared = DeclaredObjects(self.store)
        self.reports: list[tuple[str, bytes]] = []
        self.watching: list[str] = []
        self.fault: Exception | None = None

    async def rows(self, kind: str) -> Sequence[Row]:
        if self.fault:
            raise self.fault
        return {"guests": GUESTS, "wires": WIRES}.get(kind, [])

    async def explain(self, guest: str) -> Sequence[str]:
        return ["guest web-1 is running on s1", "  because"] if guest in ("web-1", UUID) else []

    async def events(self, follow: bool) -> AsyncIterator[Row]:
        for event in EVENTS:
            yield event

    async def intent_lines(self, server: str, instance: str) -> AsyncIterator[bytes]:
        self.watching.append(instance)
        try:
            yield json.dumps({"server": server}).encode() + b"\n"
            await asyncio.Event().wait()
        finally:
            self.watching.remove(instance)

    async def take_report(self, server: str, body: bytes) -> None:
        if body == b"bad":
            raise ValueError("not a report")
        self.reports.append((server, body))


class Controller:
    """The server's thread, and where it listens."""

    def __init__(self, directory: Path) -> None:
        self.state, self.socket = FakeState(), directory / "controller.sock"
        config = uvicorn.Config(
            create_app(self.state), uds=str(self.socket), log_level="error", lifespan="off", timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> "Controller":
        self.thread.start()
        wait_until(lambda: self.server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Return when ``condition`` holds; fail when it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    with Controller(tmp_path) as running:
        monkeypatch.setenv("OUTRIDER_SERVER", f"unix:{running.socket}")
        yield running


Outcome = tuple[int, str, str]
Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line; returns (exit code, standard output, standard error)."""

    def call(*arguments: str) -> Outcome:
        code = run_command(list(arguments))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out, captured.err

    return call


class FakeAgent:
    """Answers one line for each connection, with what ``answer`` makes of the request."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], object]) -> None:
        self.requests: list[dict[str, Any]] = []
        self._answer, self._listening = answer, socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                asker, _ = self._listening.accept()
            except OSError:
                return
            with asker, asker.makefile("rwb") as stream:
                request = json.loads(stream.readline())
                self.requests.append(request)
                answer = self._answer(request)
                stream.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def agents() -> Iterator[Callable[..., FakeAgent]]:
    made: list[FakeAgent] = []

    def make(path: Path, answer: Callable[[dict[str, Any]], object]) -> FakeAgent:
        made.append(FakeAgent(path, answer))
        return made[-1]

    yield make
    for agent in made:
        agent.close()
