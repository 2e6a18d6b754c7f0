"""The API's client, for the command line, the demo and tests.

Imported only when something is asked of a controller: aiohttp is a third of a second that ``outrider version`` need
not wait.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

CALL_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
MAX_LINE_BYTES = 16 << 20

Item = dict[str, Any]


class Unreachable(Exception):
    """No controller answers at the address; the message says where and why."""


class Refused(Exception):
    """The controller answered no. ``status`` is HTTP's; ``problems`` has one sentence for each reason."""

    def __init__(self, status: int, problems: Sequence[str]) -> None:
        self.status = status
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class ApiClient:
    """An ``async with`` session with one controller.

    ``address`` is ``unix:/path/of/socket`` (a bare path does as well) or ``http://host:port``. Calls raise
    ``Unreachable`` or ``Refused``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        if self.address.startswith(("http://", "https://")):
            base, connector = self.address, None
        else:
            base, connector = "http://outrider", aiohttp.UnixConnector(path=self.address.removeprefix("unix:"))
        self._session = aiohttp.ClientSession(base, connector=connector, timeout=timeout, read_bufsize=MAX_LINE_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def version(self) -> Item:
        """``version`` and ``apiVersion`` of the controller."""
        return await self._call("GET", "/v1/version")

    async def apply(self, manifests: Sequence[Item], dry_run: bool = False) -> Item:
        """Declare manifests, all or none: ``{"items": [{kind, name, result}], "warnings": […]}``."""
        return await self._call("POST", "/v1/apply", {"items": list(manifests)}, {"dryRun": str(dry_run).lower()})

    async def delete(self, keys: Sequence[tuple[str, str]], dry_run: bool = False) -> Item:
        """Delete objects given as (kind, name), all or none."""
        items = [{"kind": kind, "name": name} for kind, name in keys]
        return await self._call("POST", "/v1/delete", {"items": items}, {"dryRun": str(dry_run).lower()})

    async def label(self, guest: str, changes: Mapping[str, str | None]) -> Item:
        """Set labels of a guest (name or UUID), or remove those whose value is None."""
        return await self._call("PATCH", f"/v1/guests/{quote(guest, safe='')}", {"labels": dict(changes)})

    async def items(self, plural: str, name: str | None = None) -> list[Item]:
        """The objects of one kind (keys: ``outrider.api.state``), or those of one name."""
        answer = await self._call("GET", f"/v1/{plural}", query={"name": name} if name is not None else None)
        return list(answer["items"])

    async def describe(self, plural: str, name: str) -> Item:
        """Everything about one object."""
        return await self._call("GET", f"/v1/{plural}/{quote(name, safe='')}")

    async def explain(self, guest: str) -> list[str]:
        """Why the guest's packets go the way they go, line by line."""
        return list((await self._call("GET", f"/v1/explain/guest/{quote(guest, safe='')}"))["lines"])

    async def events(self, follow: bool = False) -> AsyncIterator[Item]:
        """Events, oldest first; with ``follow`` without end."""
        endless = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
        async with self._answer("GET", "/v1/events", None, {"follow": str(follow).lower()}, endless) as answer:
            async for line in answer.content:
                yield json.loads(line)

    async def _call(
        self, method: str, path: str, body: Item | None = None, query: dict[str, str] | None = None
    ) -> Item:
        async with self._answer(method, path, body, query, None) as answer:
            content: Item = await answer.json(content_type=None)
            return content

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        body: Item | None,
        query: dict[str, str] | None,
        limits: aiohttp.ClientTimeout | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("use ApiClient in an async with block")
        extra: dict[str, Any] = {"timeout": limits} if limits else {}
        try:
            async with self._session.request(method, path, json=body, params=query, **extra) as answer:
                if answer.status >= 400:
                    raise Refused(answer.status, _problems_in(await answer.text(), answer.status))
                yield answer
        except TimeoutError as error:
            raise Unreachable(f"the controller at {self.address} did not answer in time") from error
        except aiohttp.ClientPayloadError as error:
            raise Unreachable(f"the controller at {self.address} broke off in the middle of its answer") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"no controller answers at {self.address}: {_reason(error)}") from error


def _problems_in(text: str, status: int) -> list[str]:
    try:
        problems = json.loads(text)["problems"]
        return [str(problem) for problem in problems]
    except (ValueError, KeyError, TypeError):
        return [f"the controller answered {status} without a reason"]


def _reason(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or str(error) or type(error).__name__
