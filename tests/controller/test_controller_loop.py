"""The controller as a whole, over the real store and session, with agents played by the test."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from outrider.controller.loop import ControllerLoop
from outrider.controller.memory import ControllerMemory, Deposed
from outrider.controller.service import ControllerService
from outrider.domain.guest import GuestState
from outrider.domain.labels import Selector
from outrider.domain.observation import GuestObservation, ServerObservation, VnicObservation
from outrider.domain.policy import SecurityPolicy
from outrider.planning.ledger import Ledger
from outrider.session.agent import AgentSession
from outrider.store.declared import DeclaredObjects
from outrider.store.sqlite import SqliteStore

GUEST = GuestObservation(
    "0d6b1c0e-0000-4000-8000-000000000001",
    "web-1",
    GuestState.RUNNING,
    {"tier": "web"},
    (VnicObservation("52:54:00:00:00:01", "vnet0"),),
)
POLICY = SecurityPolicy("web-tier", ("ips",), Selector.from_match_labels({"tier": "web"}))


class PlayedAgent:
    """An agent that watches and reports, and applies nothing."""

    def __init__(self, service: ControllerService, server: str, instance: str = "a") -> None:
        self.session = AgentSession(server, instance)
        self._service, self._server, self._instance = service, server, instance
        self._lines = service.intent_lines(server, instance)

    async def next_intent(self):
        """The next newer intent, within the deadline."""
        async with asyncio.timeout(5):
            while True:
                if self.session.take_line(await anext(self._lines)):
                    return self.session.intent

    async def report(self, *guests: GuestObservation) -> None:
        """Say what is so."""
        observation = ServerObservation(
            self._server, "192.0.2.1", 1700, 8, self.session.intent.generation, guests=guests
        )
        self.session.connected()
        body = self.session.owed(observation, 0.0)
        assert body is not None
        await self._service.take_report(self._server, body)

    async def leave(self) -> None:
        await self._lines.aclose()


class Running:
    """A controller on a SQLite file, for the length of a test."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> "Running":
        self.store = await SqliteStore.open(self._path)
        self.declared = DeclaredObjects(self.store)
        self.loop = ControllerLoop(ControllerMemory(self.store), self.declared)
        self.service = ControllerService(self.loop, self.declared)
        self.task = asyncio.ensure_future(self.loop.run())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self.store.close()

    async def declare(self, policy: SecurityPolicy) -> None:
        current = await self.declared.read()
        await self.declared.change([policy], [], current.revision)


async def test_a_guest_that_appears_is_held_and_an_appliance_is_requested(tmp_path: Path):
    async with Running(tmp_path / "db") as running:
        await running.declare(POLICY)
        agent = PlayedAgent(running.service, "s1")
        watching = asyncio.ensure_future(agent.next_intent())
        await asyncio.sleep(0)
        await agent.report(GUEST)
        intent = await watching
        while not intent.wires or not intent.appliances:
            intent = await agent.next_intent()
        assert intent.wires[0].state.value == "hold"
        assert intent.appliances[0].appliance_class.controls == ("ips",)
        rows = await running.service.rows("wires")
        assert rows[0]["guest"] == "web-1" and "is requested" in rows[0]["reason"]
        assert any("web-tier (priority 0) applies" in line for line in await running.service.explain("web-1"))
        await agent.leave()


async def test_a_controller_that_died_goes_on_with_the_same_ledger_in_a_new_term(tmp_path: Path):
    async with Running(tmp_path / "db") as running:
        await running.declare(POLICY)
        agent = PlayedAgent(running.service, "s1")
        watching = asyncio.ensure_future(agent.next_intent())
        await asyncio.sleep(0)
        await agent.report(GUEST)
        intent = await watching
        while not intent.appliances:
            intent = await agent.next_intent()
        before = set(running.loop.ledger.appliances)
        await agent.leave()
    async with Running(tmp_path / "db") as running:
        agent = PlayedAgent(running.service, "s1")
        agent.session = AgentSession("s1", "a", None)
        await agent.next_intent()
        await agent.report(GUEST)
        assert set(running.loop.ledger.appliances) == before, "nothing is asked for twice"
        assert agent.session.accepted is not None and agent.session.accepted.term == 2
        await agent.leave()


async def test_nothing_is_planned_or_told_before_the_policies_have_been_read(tmp_path: Path):
    async with Running(tmp_path / "db") as running:
        await running.declare(POLICY)
    told = []
    async with Running(tmp_path / "db") as running:
        agent = PlayedAgent(running.service, "s1")  # connects before the controller has read anything
        await agent.next_intent()
        await agent.report(GUEST)
        while not told or not told[-1].wires:
            told.append(await agent.next_intent())
        assert {wire.state.value for intent in told for wire in intent.wires} == {"hold"}
        await agent.leave()


async def test_a_deposed_controllers_writes_are_refused(tmp_path: Path):
    store = await SqliteStore.open(tmp_path / "db")
    first, second = ControllerMemory(store), ControllerMemory(store)
    await first.take_over()
    await second.take_over()
    with pytest.raises(Deposed):
        await first.save(Ledger(next_path=99))
    await second.save(Ledger(next_path=2))
    third = ControllerMemory(store)
    assert (await third.take_over()).next_path == 2
    await store.close()


async def test_a_second_agent_that_claims_the_server_takes_it_over_and_the_first_is_refused(tmp_path: Path):
    async with Running(tmp_path / "db") as running:
        first, second = PlayedAgent(running.service, "s1", "a"), PlayedAgent(running.service, "s1", "b")
        for agent in (first, second):
            await agent.next_intent()
        with pytest.raises(ValueError, match="another agent speaks for s1"):
            await first.report()
        await first.leave()
        await second.leave()
