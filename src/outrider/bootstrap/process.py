"""What every long-running process of Outrider does the same way: log, stop on a signal, fail in one sentence."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM
from socket import socket as Socket

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


def listen_for_root(path: Path) -> Socket:
    """A listening Unix socket at ``path`` that only its owner may open: whoever reaches it decides what passes.

    Made here because others' ways leave it open to every user, or for a moment. Takes the place of a socket that a
    dead controller left. Raises ``CannotRun``.
    """
    listening = Socket(AF_UNIX, SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with _umask(0o177):
            listening.bind(str(path))
    except OSError as error:
        listening.close()
        raise CannotRun(f"cannot listen at {path}: {error.strerror or error}") from error
    listening.listen(128)
    return listening


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


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
