"""An agent's control socket that answers as a test wants it to, and remembers what it was asked."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


class FakeAgent:
    """Listens on ``path``. ``answer`` goes to every "arm" (None: it never answers); ``garbage`` goes out as it is."""

    def __init__(self, path: Path, answer: dict[str, Any] | None = None, garbage: bytes | None = None) -> None:
        self.answer = {"ok": True} if answer is None else answer
        self.silent = False
        self.garbage = garbage
        self.on_request: Callable[[dict[str, Any]], None] = lambda request: None
        self.requests: list[tuple[float, dict[str, Any]]] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        held = []
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection.makefile("rb") as lines:
                request = json.loads(lines.readline())
            self.requests.append((time.monotonic(), request))
            self.on_request(request)
            if self.silent:
                held.append(connection)
                continue
            with suppress(OSError):  # news is sent without waiting for an answer
                connection.sendall(self.garbage or json.dumps(self.answer).encode() + b"\n")
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [request for _, request in self.requests if request["op"] == operation]
