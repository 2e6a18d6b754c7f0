"""The process an appliance runs as: one that outlives its agent, is found again, and never mistaken for another.

A process id alone is no identity, since the kernel gives it again; with the time the process started it is.
Appliances get a session of their own, so that nothing sent to the agent's terminal or process group reaches them;
they still end with the server's PID namespace, as everything in it does.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TAG = "OUTRIDER_APPLIANCE"  # the environment variable that tells which appliance a process belongs to
_GONE_WITHIN_S = 5.0


class ProcessTrouble(Exception):
    """An appliance's process did not start, or did not end."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """``start_ticks``: clock ticks after boot at which the process started (proc(5), field 22 of ``stat``)."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """The identity of the process that has ``pid`` now; raises ``ProcessTrouble`` when there is none."""
        found = _stat(pid)
        if found is None:
            raise ProcessTrouble("the process ended as soon as it was started")
        return cls(pid, found[1])

    @classmethod
    def spawn(cls, command: Sequence[str], output: Path, tag: str, stdin: int | None = None) -> "ProcessId":
        """Start ``command`` in a session of its own, its output appended to the file ``output``.

        ``tag`` is what ``end_strays`` finds it by; ``stdin`` is a descriptor to give it (default: nothing to read).
        Raises ``ProcessTrouble``.
        """
        streams: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        if stdin is None:
            streams.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
        else:
            streams.append((os.POSIX_SPAWN_DUP2, stdin, 0))
        try:
            environment = {**os.environ, TAG: tag}
            pid = os.posix_spawnp(command[0], list(command), environment, file_actions=streams, setsid=True)
        except FileNotFoundError as error:
            raise ProcessTrouble(f"{command[0]} is not on this machine: run './run setup'") from error
        return cls.of(pid)

    def is_alive(self) -> bool:
        """True while this very process runs (a zombie does not)."""
        found = _stat(self.pid)
        return found is not None and found[1] == self.start_ticks and found[0] not in "ZX"

    def end(self) -> None:
        """Kill the process and wait until it is gone; does nothing when it is gone already.

        Raises ``ProcessTrouble`` when it is still there after five seconds.
        """
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + _GONE_WITHIN_S
        while self.is_alive():
            if time.monotonic() > deadline:
                raise ProcessTrouble(f"process {self.pid} does not end")
            time.sleep(0.002)
        self._reap()

    def _reap(self) -> None:
        # Only the agent that started it is its parent; after adoption the namespace's first process reaps it. A
        # process whose first thread is a zombie cannot be reaped before its other threads have ended too.
        deadline = time.monotonic() + _GONE_WITHIN_S
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
                time.sleep(0.002)


class ExitWatch:
    """Sets an event when a process ends, be it a child of ours or adopted (pidfd_open(2))."""

    def __init__(self, process: ProcessId | None, event: asyncio.Event) -> None:
        self._process = process
        self._event = event
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        if self._process is None:
            return
        try:
            self._descriptor = os.pidfd_open(self._process.pid)
        except ProcessLookupError:
            self._event.set()
            return
        asyncio.get_running_loop().add_reader(self._descriptor, self._ended)

    def __exit__(self, *_: object) -> None:
        self._forget()

    def _ended(self) -> None:
        self._event.set()
        self._forget()

    def _forget(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def end_strays(tag: str) -> None:
    """End every process started with ``tag``: an agent killed at the wrong moment wrote down no process id."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _has_tag(entry, tag):
            with contextlib.suppress(ProcessTrouble):  # ended meanwhile
                ProcessId.of(int(entry.name)).end()


def _has_tag(process: Path, tag: str) -> bool:
    try:
        return f"{TAG}={tag}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _stat(pid: int) -> tuple[str, int] | None:
    """(state, start time in ticks) of ``pid``, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])
