"""What every long-running process of Outrider does the same way: log, stop on a signal, fail in one sentence."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine

import structlog

from outrider.store.contract import StoreError


class CannotRun(Exception):
    """The process cannot begin or go on; the message is one sentence for the operator."""


def configure_logging() -> None:
    """Structured lines on standard error; ``OUTRIDER_LOG`` sets the level (default: info)."""
    level = logging.getLevelNamesMapping().get(os.environ.get("OUTRIDER_LOG", "info").upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def run_until_stopped(main: Coroutine[object, object, None]) -> int:
    """Run ``main`` until it ends or SIGTERM or SIGINT comes; returns the exit code."""
    configure_logging()
    failures: list[BaseException] = []
    try:
        asyncio.run(_with_signals(main))
    except* (CannotRun, StoreError) as group:
        failures.extend(group.exceptions)
    for error in failures:
        print(f"outrider: {error}", file=sys.stderr)
    return 1 if failures else 0


async def _with_signals(main: Coroutine[object, object, None]) -> None:
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        structlog.get_logger("process").info("stopped")
