"""A task that watches for as long as its hypervisor does, and does not die unheard."""

import asyncio
from collections.abc import Coroutine

import structlog

log = structlog.get_logger("hypervisors")


def watch(story: Coroutine[object, object, None], name: str) -> "asyncio.Task[None]":
    """Run ``story`` as a task; should it ever fail, that is said, since nobody awaits it."""
    task = asyncio.create_task(story, name=name)
    task.add_done_callback(_say_why_it_ended)
    return task


def _say_why_it_ended(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (failure := task.exception()):
        log.error("watching ended by a fault", watch=task.get_name(), exc_info=failure)
