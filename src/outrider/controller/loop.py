"""The controller's loop: whenever anything changed, plan from the whole, remember it, tell the servers.

What is promised is written to the store *before* any server is told, so that a controller that dies in between leaves
a ledger that says at least what the servers were told.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

import structlog

from outrider.controller.events import EventLog, events_of_plan, events_of_report
from outrider.controller.memory import ControllerMemory
from outrider.domain.appliance import ApplianceClass
from outrider.domain.intent import ServerIntent
from outrider.domain.labels import Labels
from outrider.domain.observation import ServerObservation
from outrider.domain.policy import SecurityPolicy
from outrider.domain.ruleset import RuleSet
from outrider.manifests.builtin import builtin_classes
from outrider.manifests.guest_labels import GuestLabels
from outrider.planning.cluster import ClusterState, ServerView
from outrider.planning.ledger import Ledger
from outrider.planning.plan import plan
from outrider.session.controller import ControllerSession
from outrider.store.declared import Declarations, DeclaredObjects
from outrider.store.wakeup import Wakeup

T = TypeVar("T", SecurityPolicy, ApplianceClass, RuleSet, GuestLabels)

log = structlog.get_logger("controller")


class ControllerLoop:
    """Holds the cluster state and plans from it."""

    def __init__(self, memory: ControllerMemory, declared: DeclaredObjects) -> None:
        self._memory, self._declared = memory, declared
        self._declarations = Declarations()
        self._ready = asyncio.Event()
        self._observations: dict[str, ServerObservation] = {}
        self._sessions: dict[str, ControllerSession] = {}
        self._changed = asyncio.Event()
        self._planned = Wakeup()
        self.ledger = Ledger()
        self.events = EventLog()

    async def run(self) -> None:
        """Take over, then plan until cancelled. Raises ``StoreError`` when the store fails or another took over.

        Nothing is planned or told before both the ledger and what is declared have been read: a plan without the
        policies would open every wire.
        """
        self.ledger = await self._memory.take_over()
        self._declarations = await self._declared.read()
        log.info("took over", term=self._memory.term, wires=len(self.ledger.wires))
        self._ready.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_declared())
            tasks.create_task(self._plan_when_changed())

    # -- what goes in

    async def _watch_declared(self) -> None:
        async for declarations in self._declared.watch():
            self._declarations = declarations
            self._changed.set()

    async def take_report(self, server: str, body: bytes) -> None:
        """Take in an agent's report. Raises ``BadMessage``."""
        await self._ready.wait()
        observation = self._session(server).take_report(body)
        if observation is None:
            return
        now = time.time()
        for draft in events_of_report(self._observations.get(server), observation):
            self.events.add(now, draft)
        self._observations[server] = observation
        self._changed.set()

    # -- what comes out

    async def intent_lines(self, server: str, instance: str) -> AsyncIterator[bytes]:
        """The intents of ``server``, each as one line, as long as its agent watches."""
        await self._ready.wait()
        session = self._session(server)
        session.connected(instance)
        self._changed.set()
        log.info("agent connected", server=server, instance=instance)
        try:
            while session.instance == instance:
                ticket = self._planned.ticket()
                intent = self.ledger.intents.get(server, ServerIntent(server))
                line = session.owed(intent)
                if line is not None:
                    yield line
                await ticket.wait()
        finally:
            session.disconnected(instance)
            self._changed.set()
            log.info("agent left", server=server, instance=instance)

    def cluster(self) -> ClusterState:
        """Everything known now, as the planner sees it."""
        classes = {cls.name: cls for cls in builtin_classes()} | self._of_kind(ApplianceClass)
        return ClusterState(
            policies=tuple(self._of_kind(SecurityPolicy).values()),
            classes=classes,
            rulesets=self._of_kind(RuleSet),
            guest_labels=self._guest_labels(),
            servers={
                name: ServerView(observation, self._session(name).is_connected)
                for name, observation in self._observations.items()
            },
            ledger=self.ledger,
        )

    # -- planning

    async def _plan_when_changed(self) -> None:
        wake_at: float | None = None
        while True:
            try:
                async with asyncio.timeout(None if wake_at is None else max(0.0, wake_at - time.time()) + 0.001):
                    await self._changed.wait()
            except TimeoutError:
                log.debug("time to look again")
            self._changed.clear()
            wake_at = await self._plan_once()

    async def _plan_once(self) -> float | None:
        now = time.time()
        planned = plan(self.cluster(), now)
        if planned.ledger != self.ledger:
            await self._memory.save(planned.ledger)
            before, self.ledger = self.ledger, planned.ledger
            for draft in events_of_plan(before, planned.ledger):
                self.events.add(now, draft)
                log.info(draft.reason, name=draft.name, message=draft.message)
        self._planned.ring()
        return planned.look_again_at

    def _session(self, server: str) -> ControllerSession:
        if server not in self._sessions:
            self._sessions[server] = ControllerSession(server, self._memory.term)
        return self._sessions[server]

    def _of_kind(self, kind: type[T]) -> dict[str, T]:
        values = [value for value in self._declarations.values if isinstance(value, kind)]
        return {value.name: value for value in values}

    def _guest_labels(self) -> Mapping[str, Labels]:
        return {labels.guest: labels.labels for labels in self._of_kind(GuestLabels).values()}
