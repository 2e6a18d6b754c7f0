"""The controller of the bench's lab, asked as a script would ask it: HTTP over its Unix socket."""

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from outrider.lab.paths import LabError

_ANSWERS_WITHIN_S = 10.0
Row = Mapping[str, Any]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("outrider", timeout=_ANSWERS_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class LabController:
    """Raises ``LabError`` with the controller's own words when it refuses, ``OSError`` when it does not answer."""

    def __init__(self, path: Path) -> None:
        self._connection = _UnixConnection(path)

    def apply(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Declare objects, all or none."""
        self._ask("POST", "/v1/apply", {"items": list(manifests)})

    def rows(self, kind: str) -> list[Row]:
        """The rows of one kind, as ``outrider get KIND -o json`` has them."""
        items: list[Row] = self._ask("GET", f"/v1/{kind}")["items"]
        return items

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = json.dumps(body) if body is not None else None
        self._connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise LabError(f"the controller refuses {method} {path}: {text.decode(errors='replace')}")
        return json.loads(text)
