"""One appliance's story: created, proved, watched, and created again when it fails.

The rule it keeps is that ``READY`` means *proved to inspect by the rules that were asked for*, and goes on meaning it:
the proof is repeated every few seconds, and an appliance that fails it is taken down at once, so that whatever still
reaches it comes out nowhere. An attempt is bounded in time and a failed one is repeated with growing pauses, the
reason in plain sight meanwhile.

Everything that blocks runs in threads of the adapter's; the story itself is one task of the agent's event loop.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from outrider.appliances.accelerator import AcceleratorFinding
from outrider.appliances.container import launch_container
from outrider.appliances.control import Control, ControlTrouble, Silent, Unreachable
from outrider.appliances.engine import Engine, UnknownImage
from outrider.appliances.images import ImageMissing, find_image
from outrider.appliances.machine import launch_machine
from outrider.appliances.ports import (
    TAG_ROOM_BYTES,
    AppliancePorts,
    PortTrouble,
    bring_up,
    create_taps,
    create_veths,
    delete_ports,
)
from outrider.appliances.process import ExitWatch, ProcessId, ProcessTrouble, end_strays
from outrider.appliances.prove import NotForwarding, ProofFailed, prove
from outrider.appliances.record import ApplianceFolder, Record
from outrider.appliances.suricata import EngineMissing
from outrider.domain.appliance import ApplianceFormat, ApplianceState
from outrider.domain.intent import ApplianceIntent
from outrider.domain.observation import ApplianceObservation, Count

PROVE_AGAIN_S = 5.0
ANSWER_WITHIN_S = 20.0
RELOAD_WITHIN_S = 60.0  # tens of thousands of rules, in an emulated VM
COUNTS_WITHIN_S = 1.0  # an engine that hangs must not keep its own proof waiting
MISSED_ROUNDS_ALLOWED = 2  # a busy server may starve an engine for seconds; a canary is forgiven nothing
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
_FIRST_PROOF_ROUND_S = 0.3
_ASK_AGAIN_S = 0.02

T = TypeVar("T")
Guard = Callable[[int, int], None]


class AttemptFailed(Exception):
    """An attempt to have the appliance ended; the message says why."""


# What an attempt may run into. Anything else is a fault of ours and ends the story with its name as the reason.
_EXPECTED = (
    AttemptFailed, ControlTrouble, EngineMissing, ImageMissing, PortTrouble, ProcessTrouble, ProofFailed, UnknownImage,
    OSError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """What all appliances of one server share. ``guard`` attaches the programs to (inport, outport) by ifindex."""

    guard: Guard
    image_cache: Path
    entering_mark: int
    guest_mtu: int
    threads: Executor
    accelerator: Callable[[], AcceleratorFinding]


class ApplianceLife:
    """One wanted appliance. ``run`` is its task; the rest may be asked at any time from the event loop."""

    def __init__(self, record: Record, folder: ApplianceFolder, site: Site, on_change: Callable[[], None]) -> None:
        self._record = record
        self._folder = folder
        self._site = site
        self._on_change = on_change
        self._wanted = record.intent
        self._ports = AppliancePorts.of(record.intent.name)
        self._state = ApplianceState.REQUESTED
        self._reason = ""
        self._ifindexes: tuple[int, int] | None = None
        self._counters: dict[str, Count] = {}
        self._counting_trouble = ""
        self._failures_in_a_row = 0
        self._last_failure = ""
        self._refused_digest: str | None = None
        self._look_again = asyncio.Event()
        self._interrupted: asyncio.Future[Any] | None = None

    @property
    def ifindexes(self) -> tuple[int, int] | None:
        """(inport, outport) once they exist and are guarded."""
        return self._ifindexes

    def want(self, intent: ApplianceIntent) -> None:
        """Take in a changed intent: new rules reach a running engine; another class only the next attempt."""
        if intent != self._wanted:
            self._wanted = intent
            self._look_again.set()

    def observe(self) -> ApplianceObservation:
        """How far it has got."""
        record = self._record
        return ApplianceObservation(
            name=self._wanted.name,
            appliance_class=self._wanted.appliance_class.name,
            state=self._state,
            reason="; ".join(part for part in (self._reason, self._counting_trouble) if part),
            ruleset_digest=record.proven_digest,
            requested_at=record.requested_at,
            ready_at=record.ready_at,
            attempts=record.attempts,
            counters=dict(self._counters),
        )

    def adopt(self) -> None:
        """Take over at once what an earlier agent left running: packets go through it now.

        What is in the way is met again, and told, by ``run``.
        """
        process = self._record.process
        if process is None or not process.is_alive():
            return
        with suppress(*_EXPECTED):
            self._guard_ports()
            if self._record.ready_at is not None:
                self._enter(ApplianceState.READY)

    async def run(self) -> None:
        """Have the appliance for as long as the task lives; ends only by being cancelled."""
        while True:
            try:
                await self._resume_or_create()
                await self._watch()
            except _EXPECTED as error:
                await self._fail(str(error))
            except Exception as error:
                await self._fail(f"{type(error).__name__}: {error}")
            await self._pause()

    async def retire(self) -> bool:
        """Remove every trace, once the task has ended; False, with the reason observable, when something stays."""
        self._enter(ApplianceState.RETIRED)
        self._ifindexes = None
        try:
            await self._in_thread(self._take_down)
            # A thread that waited for the engine has been told by its end; one that was starting it comes to its own.
            if self._interrupted is not None:
                await asyncio.wait([self._interrupted])
                await self._in_thread(self._take_down)
            await self._in_thread(self._folder.remove)
        except (OSError, PortTrouble, ProcessTrouble) as error:
            self._enter(ApplianceState.RETIRED, f"cannot be taken down: {error}")
            return False
        return True

    # ------------------------------------------------------------------ creating

    async def _resume_or_create(self) -> None:
        process = self._record.process
        if process is None or not process.is_alive() or self._ports.ifindexes() is None:
            await self._create()
        elif self._record.ready_at is not None:
            # Proved by an earlier agent and running ever since: packets go through it while we look.
            self._guard_ports()
            self._enter(ApplianceState.READY)
        else:
            self._guard_ports()
            await self._first_proof(time.monotonic() + self._wanted.appliance_class.ready_within_s)

    async def _create(self) -> None:
        deadline = time.monotonic() + self._wanted.appliance_class.ready_within_s
        self._note(replace(
            self._record, intent=self._wanted, attempts=self._record.attempts + 1, process=None, ready_at=None,
            proven_digest=None,
        ))  # fmt: skip
        self._enter(ApplianceState.CREATING, self._former_failure())
        await self._in_thread(self._launch)
        await self._first_proof(deadline)

    def _launch(self) -> None:
        intent = self._wanted
        engine = Engine.of(intent.appliance_class)
        self._take_down()
        self._folder.make()
        mtu = self._site.guest_mtu + TAG_ROOM_BYTES
        if intent.appliance_class.format is ApplianceFormat.CONTAINER:
            script = engine.container_script(self._folder, intent.ruleset)

            def create_ports(pid: int) -> None:
                create_veths(self._ports, mtu, pid, offloads=not engine.inspects)
                self._guard_ports()
                bring_up(self._ports)

            self._started(launch_container(script, self._folder.path, create_ports))
            return
        image = find_image(engine.name, self._site.image_cache)
        accelerator = self._site.accelerator()
        create_taps(self._ports, mtu)
        self._guard_ports()
        self._started(launch_machine(intent, image, self._folder, self._ports, mtu, accelerator))
        bring_up(self._ports)

    def _started(self, process: ProcessId) -> None:
        # Written down at once, in the thread that started it: the task that waits may be cancelled meanwhile.
        self._note(replace(self._record, process=process))

    def _guard_ports(self) -> None:
        found = self._ports.ifindexes()
        if found is None:
            raise AttemptFailed("its ports are gone")
        self._site.guard(*found)
        self._ifindexes = found

    # ------------------------------------------------------------------ proving

    async def _first_proof(self, deadline: float) -> None:
        self._enter(ApplianceState.PROVING, self._former_failure())
        intent = self._wanted
        if intent.appliance_class.format is ApplianceFormat.VM:
            await self._give_first_rules(deadline, intent)
        await self._prove_until(deadline, intent)
        await self._check_rules_until(deadline, intent)
        digest = Engine.of(intent.appliance_class).digest(intent.ruleset)
        self._note(replace(self._record, intent=intent, ready_at=time.time(), proven_digest=digest))
        self._failures_in_a_row = 0
        self._enter(ApplianceState.READY)

    async def _give_first_rules(self, deadline: float, intent: ApplianceIntent) -> None:
        engine = Engine.of(intent.appliance_class)

        def give() -> None:
            engine.give_first_rules(self._folder, intent.ruleset, max(deadline - time.monotonic(), 0.1))

        await self._ask_until(deadline, give)

    async def _check_rules_until(self, deadline: float, intent: ApplianceIntent) -> None:
        engine = Engine.of(intent.appliance_class)
        control = engine.control(self._folder, intent.appliance_class.format, ANSWER_WITHIN_S)
        await self._ask_until(deadline, lambda: engine.check_rules(control))

    async def _ask_until(self, deadline: float, ask: Callable[[], None]) -> None:
        """QEMU listens a moment after its start, and an engine may forward before it listens."""
        while True:
            try:
                return await self._in_thread(ask)
            except Unreachable as error:
                if time.monotonic() > deadline:
                    raise self._not_ready(str(error)) from error
            except Silent as error:
                raise self._not_ready(str(error)) from error
            self._check_process()
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _prove_until(self, deadline: float, intent: ApplianceIntent) -> None:
        while True:
            try:
                await self._prove_round(intent, _FIRST_PROOF_ROUND_S)
                return
            except ProofFailed as error:
                if time.monotonic() > deadline:
                    raise self._not_ready(str(error)) from error
                self._say(f"not proved yet: {error}")
            self._check_process()

    async def _prove_round(self, intent: ApplianceIntent, within_s: float | None = None) -> None:
        canary = Engine.of(intent.appliance_class).canary(intent.ruleset)
        ports = self._ifindexes
        if ports is None:
            raise AttemptFailed("its ports are gone")
        mark = self._site.entering_mark
        if within_s is None:
            await self._in_thread(lambda: prove(ports, mark, canary))
        else:
            await self._in_thread(lambda: prove(ports, mark, canary, within_s))

    def _not_ready(self, why: str) -> AttemptFailed:
        if self._record.process is not None and not self._record.process.is_alive():
            return self._ended()
        return AttemptFailed(f"not ready within {self._wanted.appliance_class.ready_within_s:g} s: {why}")

    def _check_process(self) -> None:
        if self._record.process is None or not self._record.process.is_alive():
            raise self._ended()

    def _ended(self) -> AttemptFailed:
        said = self._folder.last_words()
        return AttemptFailed(f"its process ended{f' ({said})' if said else ''}")

    # ------------------------------------------------------------------ watching

    async def _watch(self) -> None:
        missed = 0
        with ExitWatch(self._record.process, self._look_again):
            while True:
                self._look_again.clear()
                self._check_process()
                await self._follow_rules()
                try:
                    await self._prove_round(self._record.intent)
                    missed = 0
                except NotForwarding:
                    missed += 1
                    self._check_process()
                    if missed > MISSED_ROUNDS_ALLOWED:
                        raise
                await self._count()
                if not missed:
                    await self._wait_for_look(PROVE_AGAIN_S)

    async def _follow_rules(self) -> None:
        """Bring a running engine to the rules that are wanted now; rules it refuses change nothing but the reason."""
        running, wanted = self._record.intent, self._wanted
        engine = Engine.of(running.appliance_class)
        digest = engine.digest(wanted.ruleset)
        control = engine.control(self._folder, running.appliance_class.format, RELOAD_WITHIN_S)
        if control is None or digest in (self._record.proven_digest, self._refused_digest):
            return
        try:
            await self._in_thread(lambda: engine.change_rules(control, wanted.ruleset, running.ruleset))
        except ControlTrouble as error:
            self._refused_digest = digest
            name = wanted.ruleset.name if wanted.ruleset else "none"
            self._enter(ApplianceState.READY, f"keeps its former rules, those of rule set {name} are refused: {error}")
            return
        changed = replace(running, ruleset=wanted.ruleset)
        await self._prove_until(time.monotonic() + PROVE_AGAIN_S, changed)
        self._refused_digest = None
        self._note(replace(self._record, intent=changed, proven_digest=digest))
        self._enter(ApplianceState.READY)

    async def _count(self) -> None:
        intent = self._record.intent
        engine = Engine.of(intent.appliance_class)
        control: Control | None = engine.control(self._folder, intent.appliance_class.format, COUNTS_WITHIN_S)
        try:
            self._counters = await self._in_thread(lambda: engine.observe_counters(control))
        except ControlTrouble as error:
            # It has just been proved to inspect: that its counts cannot be read is worth a word, not its life.
            self._counting_trouble = f"it inspects, but its counters cannot be read: {error}"
        else:
            self._counting_trouble = ""

    # ------------------------------------------------------------------ failing

    async def _fail(self, reason: str) -> None:
        self._failures_in_a_row += 1
        self._ifindexes = None
        self._note(replace(self._record, ready_at=None, proven_digest=None))
        # Said first, done second: the agent may revoke the returns while the process still ends.
        self._enter(ApplianceState.FAILED, reason)
        self._last_failure = reason
        try:
            await self._in_thread(self._take_down)
        except (PortTrouble, ProcessTrouble) as error:
            self._enter(ApplianceState.FAILED, f"{reason}; and it cannot be taken down: {error}")

    def _former_failure(self) -> str:
        """Why this is not the first attempt: an operator who looks between two failures must see it too."""
        if not self._last_failure:
            return ""
        return f"attempt {self._record.attempts}; the one before: {self._last_failure}"

    async def _pause(self) -> None:
        pause_s = min(FIRST_PAUSE_S * 2 ** (self._failures_in_a_row - 1), LONGEST_PAUSE_S)
        self._look_again.clear()
        await self._wait_for_look(pause_s)

    def _take_down(self) -> None:
        if self._record.process is not None:
            self._record.process.end()
        end_strays(str(self._folder.path))
        delete_ports(self._ports)

    # ------------------------------------------------------------------ small things

    async def _wait_for_look(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._look_again.wait()
        except TimeoutError:
            return

    async def _in_thread(self, work: Callable[[], T]) -> T:
        pending = asyncio.wrap_future(self._site.threads.submit(work))
        try:
            return await asyncio.shield(pending)
        except asyncio.CancelledError:
            # Nobody awaits it any more: what it comes to is of no interest, as long as it comes to an end.
            pending.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._interrupted = pending
            raise

    def _note(self, record: Record) -> None:
        self._record = record
        self._folder.write(record)

    def _say(self, reason: str) -> None:
        if reason != self._reason:
            self._enter(self._state, reason)

    def _enter(self, state: ApplianceState, reason: str = "") -> None:
        self._state, self._reason, self._counting_trouble = state, reason, ""
        self._on_change()
