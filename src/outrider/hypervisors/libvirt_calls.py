"""Blocking libvirt calls, made where they can block nobody.

A libvirt call may hang for as long as a hook or a migration holds the daemon. One daemon thread makes all calls of one
hypervisor in turn, so the event loop never waits for libvirt and a hung call cannot keep the process from ending. A
second thread, shared by the whole process, drives libvirt's own event loop (its events, and keep-alive).
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

import libvirt

Answer = TypeVar("Answer")

_start_events = threading.Lock()
_events_run = False


def run_events() -> None:
    """Have libvirt's events delivered, in a thread of their own, from now on; harmless when they are already.

    Must be called before the connection is opened whose events are wanted.
    """
    global _events_run  # noqa: PLW0603  (libvirt's event loop is global to the process, too)
    with _start_events:
        if _events_run:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else every error goes to stderr as well
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_drive_events, name="libvirt events", daemon=True).start()
        _events_run = True


def _drive_events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


class CallThread:
    """Runs functions one after another in a thread of its own; ``asyncio`` waits for their answers."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """End the thread after what it is doing; what is still waiting is never done."""
        self._work.put(None)

    async def ask(self, function: Callable[[], Answer]) -> Answer:
        """The answer of ``function``, or what it raised."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def deliver(value: Answer | None, failure: BaseException | None) -> None:
            if answer.done():
                return
            if failure is None:
                answer.set_result(value)  # type: ignore[arg-type]
            else:
                answer.set_exception(failure)

        def work() -> None:
            value, failure = None, None
            try:
                value = function()
            except Exception as error:
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(deliver, value, failure)

        self._work.put(work)
        return await answer

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
