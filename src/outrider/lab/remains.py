"""What a lab left behind, and sweeping it away: the same after a tidy end, a crash or ``kill -9``.

Nothing here trusts the lab's own record. Processes are found by their marker or mounts, mounts by the lab's directory,
and namespaces and links end with their last process, so a lab without processes and files is gone altogether.
"""

import shutil
from pathlib import Path

from outrider.lab.paths import LabError, LabPaths
from outrider.lab.processes import command_of, kill_process, processes_of, wait_until

_SWEEP_S = 20.0


def _mounts_of(home: Path) -> list[str]:
    """Mount points at or below ``home`` that this process sees."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4] for line in lines)
    return [point for point in points if point == str(home) or point.startswith(f"{home}/")]


def left_behind_of(paths: LabPaths) -> list[str]:
    """One line for each process, mount or file of the lab that exists; empty after a complete ``down``."""
    processes = [f"process {pid}: {command_of(pid)}" for pid in processes_of(paths.home)]
    mounts = [f"mount {point}" for point in _mounts_of(paths.home)]
    files = [f"directory {paths.home}"] if paths.home.exists() else []
    return processes + mounts + files


def _kill_all(home: Path) -> bool:
    """Kill every process of the lab; True when there was none."""
    found = list(processes_of(home))
    for pid in found:
        kill_process(pid, home)
    return not found


def sweep(paths: LabPaths) -> None:
    """Remove everything of the lab, whatever state it is in; harmless when there is nothing.

    Raises ``LabError`` when a process resists, or a mount that is not the lab's own lies over its directory.
    """
    wait_until(lambda: _kill_all(paths.home), _SWEEP_S, f"the end of all processes of lab {paths.name!r}")
    if mounts := _mounts_of(paths.home):
        raise LabError(f"{mounts[0]} is a mount point now: unmount it, then take the lab down again")
    if paths.home.exists():
        shutil.rmtree(paths.home)
    _remove_empty(paths.home.parent)


def _remove_empty(root: Path) -> None:
    """Take the directory of all labs away with the last of them (and its own parent, when that was made for it)."""
    for directory in (root, root.parent):
        if directory.name not in ("lab", "outrider"):
            return
        try:
            directory.rmdir()
        except OSError:  # another lab lives there, or has just come or gone
            return
