"""What ``doctor`` finds: one value for each question about this machine.

A check is a function without arguments that only looks; what it must try out (a namespace, a device) it tries in a
child process's own network namespace, which is gone when the child is.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

CLONE_NEWNET = 0x40000000  # unshare(2)


class Verdict(StrEnum):
    """``WARN``: something will not work, the rest will. ``FAIL``: Outrider cannot do its job here."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. ``advice`` says what to do and is empty when all is well."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


Check = Callable[[], Finding]


class _Unshared(OSError):
    """The child could not have a network namespace of its own."""


def try_in_fresh_network(attempt: Callable[[], None]) -> str | None:
    """Run ``attempt`` in a child with an empty network namespace of its own; returns why it failed, None if it did not.

    Nothing it makes there outlives the child.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _report_attempt(attempt, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == 0:
        return None
    return answer or "the attempt died without a word"


def _report_attempt(attempt: Callable[[], None], writing: int) -> None:
    """In the child: does not return."""
    code = 1
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise _Unshared(ctypes.get_errno(), f"no network namespace: {os.strerror(ctypes.get_errno())}")
        attempt()
        code = 0
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(writing, (reason or type(error).__name__).encode()[:4000])
    finally:
        os._exit(code)
