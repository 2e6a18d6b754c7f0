"""The processes of a lab: starting them in namespaces, and finding them again whatever happened to their starter.

Every process that a lab starts carries the lab's directory in its environment (``MARKER``), and passes it on to its
children. A sweep therefore needs no list that a crash could have kept from being written: it asks the kernel. What
libvirt starts has a cleaned environment, but lives in a server's PID namespace and ends with its first process.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from outrider.lab import holder
from outrider.lab.paths import LabError
from outrider.lab.record import ProcessRecord

MARKER = "OUTRIDER_LAB_HOME"


def wait_until(holds: Callable[[], bool], within_s: float, what: str) -> None:
    """Poll until ``holds()``; raise ``LabError`` naming ``what`` after ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    pause = 0.001
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not happen within {within_s:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def started_at(pid: int) -> int | None:
    """Field 22 of ``/proc/PID/stat`` (proc(5)), in clock ticks since boot; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def is_alive(process: ProcessRecord) -> bool:
    """True while the very process that was recorded runs."""
    return started_at(process.pid) == process.started


def record_of(pid: int) -> ProcessRecord:
    """Raises ``LabError`` when the process is gone already."""
    started = started_at(pid)
    if started is None:
        raise LabError(f"process {pid} ended as soon as it was started")
    return ProcessRecord(pid, started)


def marked_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a process of the lab in ``home``."""
    return {**os.environ, **(extra or {}), MARKER: str(home)}


def hold_namespaces(home: Path, host_name: str) -> ProcessRecord:
    """Make network, mount, UTS and PID namespaces held open by a process of their own (``holder``)."""
    command = [sys.executable, "-I", "-S", holder.__file__, host_name, str(home)]
    made = subprocess.run(
        command,
        env=marked_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise LabError(f"namespaces for {host_name} cannot be made: {made.stderr.strip()}")
    return record_of(int(made.stdout))


def inside(process: ProcessRecord, command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` in all the namespaces held by ``process``."""
    return ["nsenter", f"--target={process.pid}", "--mount", "--uts", "--net", "--pid", "--", *command]


def run_inside(
    process: ProcessRecord, command: Sequence[str], home: Path, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in the namespaces, wait for it, and return it with what it printed."""
    if not is_alive(process):
        raise LabError("its namespaces are gone (a crash, or `outrider lab down`): take the lab down and up again")
    return subprocess.run(
        inside(process, command),
        env=marked_environment(home),
        input=text or "",
        capture_output=True,
        text=True,
        check=False,
    )


def require_inside(process: ProcessRecord, command: Sequence[str], home: Path, text: str | None = None) -> str:
    """As ``run_inside``, raising ``LabError`` with the command's own words when it fails; returns what it printed."""
    done = run_inside(process, command, home, text)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"`{' '.join(command)}` failed: {said[-1] if said else f'exit {done.returncode}'}")
    return done.stdout


def start_daemon(
    command: Sequence[str], home: Path, log: Path, process: ProcessRecord | None = None
) -> subprocess.Popen[bytes]:
    """Start ``command`` (in the namespaces of ``process``) in a session of its own, its output added to ``log``."""
    line = inside(process, command) if process else list(command)
    with log.open("ab") as output:
        return subprocess.Popen(
            line,
            env=marked_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )


@dataclass(frozen=True)
class Starting:
    """A process that was started and is not known to be ready yet; several can get ready side by side."""

    daemon: "subprocess.Popen[bytes]"
    ready: Callable[[], bool]
    within_s: float
    log: Path

    def wait(self) -> None:
        """Wait until it is ready; raise ``LabError`` with the log's last line when it ends or is too late."""
        name = self.log.stem
        wait_until(
            lambda: self.ready() or self.daemon.poll() is not None,
            self.within_s,
            f"{name} becoming ready (its log: {self.log})",
        )
        if self.daemon.poll() is not None:
            said = self.log.read_text(errors="replace").strip().splitlines()
            raise LabError(f"{name} ended at once: {said[-1] if said else 'it printed nothing'} (its log: {self.log})")


def _ancestors() -> set[int]:
    """This process and those that wait for it: a sweep started from inside a lab must not end itself."""
    family, pid = set(), os.getpid()
    while pid > 1:
        family.add(pid)
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
    return family


def _mentions(pid: int, home: Path) -> bool:
    """True when a process carries the marker of ``home``, or lives among mounts of it."""
    marker = f"{MARKER}={home}".encode()
    with suppress(OSError):
        if marker in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return True
    with suppress(OSError):
        return f"{home}/" in Path(f"/proc/{pid}/mountinfo").read_text()
    return False


def processes_of(home: Path) -> Iterator[int]:
    """The numbers of all processes that belong to the lab in ``home``, except this one and its parents."""
    spared = _ancestors()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in spared and _mentions(int(entry.name), home):
            yield int(entry.name)


def kill_process(pid: int, home: Path) -> None:
    """Kill ``pid`` if it is (still) a process of the lab in ``home``: held by a pidfd, so never a stranger."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _mentions(pid, home):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)


def command_of(pid: int) -> str:
    """How ``ps`` would show a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def end_process(process: ProcessRecord, home: Path, within_s: float = 10.0) -> None:
    """Kill a recorded process, and wait until it, and with a PID 1 all that lives in its namespaces, is gone."""
    if is_alive(process):
        kill_process(process.pid, home)
    wait_until(lambda: not is_alive(process), within_s, f"the end of process {process.pid}")
