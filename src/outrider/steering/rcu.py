"""Waiting until every program that may have read something has ended.

Programs on tc hooks run inside RCU read-side sections, and membarrier(2) with ``MEMBARRIER_CMD_GLOBAL`` waits for a
whole grace period (it calls ``synchronize_rcu``): after it, no CPU is still inside a run that began before.
"""

import ctypes
import os
import platform

_SYSCALL = {"x86_64": 324, "aarch64": 283}
_GLOBAL = 1
_libc = ctypes.CDLL(None, use_errno=True)


def wait_for_running_programs() -> None:
    """Return after a grace period (milliseconds). Raises ``OSError`` where the kernel has no membarrier(2)."""
    if _libc.syscall(_SYSCALL[platform.machine()], _GLOBAL, 0, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"membarrier: {os.strerror(code)}")
