"""The API's own answers, where the command line does not show them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from .conftest import Controller, wait_until


@asynccontextmanager
async def http(controller: Controller) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(path=str(controller.socket))
    async with aiohttp.ClientSession("http://outrider", connector=connector) as session:
        yield session


async def test_an_agent_gets_lines_and_its_going_is_noticed(controller: Controller) -> None:
    async with http(controller) as session, session.get("/v1/agents/s1/intents", params={"instance": "i1"}) as answer:
        assert answer.status == 200
        assert json.loads(await answer.content.readline()) == {"server": "s1"}
        assert controller.state.watching == ["i1"]
    await asyncio.to_thread(wait_until, lambda: controller.state.watching == [])


async def test_a_controller_that_stops_ends_its_streams(tmp_path: Path) -> None:
    with Controller(tmp_path) as controller:
        async with http(controller) as session, session.get("/v1/agents/s1/intents?instance=i") as answer:
            await answer.content.readline()
            controller.server.should_exit = True
            async with asyncio.timeout(10):
                assert await answer.content.readline() == b""


async def test_a_report_is_handed_on_or_refused(controller: Controller) -> None:
    async with http(controller) as session:
        assert (await session.post("/v1/agents/s1/reports", data=b"{}")).status == 204
        answer = await session.post("/v1/agents/s1/reports", data=b"bad")
        assert (answer.status, (await answer.json())["error"]) == (400, "not a report")
    assert controller.state.reports == [("s1", b"{}")]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/v1/nothing", None, 404, "there is no 'nothing'"),
        ("GET", "/nothing", None, 404, "Not Found"),
        ("PUT", "/v1/wires/x", b"{}", 405, "observed, not declared"),
        ("PUT", "/v1/policies/x", b"{", 400, "not JSON"),
        ("PUT", "/v1/policies/x", b"[]", 422, "must be a mapping"),
        ("POST", "/v1/apply", b"[]", 422, "a list of items"),
        ("POST", "/v1/apply", b'{"items": [{"kind": "Guest"}]}', 422, "request: document 1"),
        ("POST", "/v1/delete", b'{"items": [{"kind": "Wire", "name": "x"}]}', 422, "SecurityPolicy"),
        ("PATCH", "/v1/guests/web-1", b'{"labels": {"a": 1}}', 422, "labels"),
        ("DELETE", "/v1/policies/x", None, 404, "no SecurityPolicy 'x'"),
        ("GET", "/v1/agents/s1/intents", None, 422, "instance"),
    ],
)
async def test_refusals_have_one_shape(
    method: str, path: str, body: bytes | None, status: int, says: str, controller: Controller
) -> None:
    async with http(controller) as session, session.request(method, path, data=body) as answer:
        content = await answer.json()
        assert answer.status == status
        assert says in content["error"]
        assert set(content) == {"error", "problems"}


async def test_put_declares_what_the_path_names(controller: Controller) -> None:
    document = {"apiVersion": "outrider.dev/v1", "kind": "RuleSet", "metadata": {"name": "r"}, "spec": {"text": "#"}}
    async with http(controller) as session:
        assert (await session.put("/v1/rulesets/other", json=document)).status == 422
        assert (await session.put("/v1/rulesets/r", json=document)).status == 200
        described = await (await session.get("/v1/rulesets/r")).json()
        assert described["status"]["rules"] == 0


async def test_writers_at_the_same_moment_all_succeed(controller: Controller) -> None:
    async def declare(session: aiohttp.ClientSession, number: int) -> int:
        labels = {"apiVersion": "outrider.dev/v1", "kind": "Guest", "metadata": {"name": f"g{number}", "labels": {}}}
        return (await session.post("/v1/apply", json={"items": [labels]})).status

    async with http(controller) as session:
        assert set(await asyncio.gather(*(declare(session, number) for number in range(10)))) == {200}
    assert len((await controller.state.declared.read()).values) == 10
