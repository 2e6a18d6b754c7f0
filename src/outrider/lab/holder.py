"""Holds a set of namespaces open: the first process (PID 1) of a small server, guest or switch.

It is run as a script by its path, by any Python and without the project on its path, because it has to start quickly
and is started often. The process that is asked makes the namespaces, leaves PID 1 in them, prints that process's
number as the caller sees it, and ends. Killing PID 1 ends everything inside, whatever environment or session it has
given itself: that is what makes a lab removable.

Usage: ``holder.py HOST-NAME MARKER``. The marker is only there to be read in ``ps``.
"""

import ctypes
import os
import signal
import socket
import sys
from typing import NoReturn

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
MS_REC_PRIVATE = 0x4000 | 0x4_0000
MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    _check(_libc.mount(source, target, kind, ctypes.c_ulong(flags), None), f"mount {target.decode()}")


def _furnish(host_name: str) -> None:
    """/proc and /sys must show these namespaces, and no mount made here may be seen outside."""
    _mount(b"none", b"/", None, MS_REC_PRIVATE)
    _mount(b"proc", b"/proc", b"proc", MS_NOSUID_NODEV_NOEXEC)
    _mount(b"sysfs", b"/sys", b"sysfs", MS_NOSUID_NODEV_NOEXEC)
    socket.sethostname(host_name)


def _hold(host_name: str, ready: int) -> NoReturn:
    os.setsid()
    # an ignored SIGCHLD makes the kernel reap every orphan that falls to PID 1
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        _furnish(host_name)
        os.write(ready, b"ok")
    except OSError as error:
        os.write(ready, str(error).encode())
        os._exit(1)
    for stream in (ready, 0, 1, 2):
        os.close(stream)
    while True:
        signal.pause()


def main(host_name: str) -> int:
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET), "unshare")
    listen, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(listen)
        _hold(host_name, ready)
    os.close(ready)
    answer = os.read(listen, 4096)
    if answer != b"ok":
        print(answer.decode() or "the first process ended at once", file=sys.stderr)
        return 1
    print(pid, flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
