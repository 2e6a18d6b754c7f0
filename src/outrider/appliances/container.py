"""Appliances as containers: the engine in a network namespace of its own, and nothing else apart.

Meant for tests and for servers where a virtual machine is not wanted. The namespace has no name: it lives as long as
the engine's process, so there is nothing to be left behind.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from outrider.appliances.process import ProcessId, ProcessTrouble

_UNSHARED_WITHIN_S = 5.0

# Reads one line before it begins, because the ports can only be made once the namespace is there to receive them.
_PREAMBLE = """\
set -e
silence_ipv6() {
  switch=/proc/sys/net/ipv6/conf/$1/disable_ipv6
  [ ! -e $switch ] || echo 1 >$switch
}
read -r go
exec </dev/null
ip link set lo up
for port in eth0 eth1; do
  silence_ipv6 $port
done
"""


def launch_container(script: str, folder: Path, create_ports: Callable[[int], None]) -> ProcessId:
    """Run ``script`` (sh) in a new network namespace holding ``eth0`` and ``eth1``; its output goes to ``folder``.

    ``create_ports`` gets the process id whose namespace receives the far ends. Raises ``ProcessTrouble`` when the
    namespace does not come to be, and whatever ``create_ports`` raises; the process is gone then.
    """
    far_end, near_end = os.pipe()
    try:
        try:
            command = ["unshare", "--net", "sh", "-c", _PREAMBLE + script]
            process = ProcessId.spawn(command, folder / "console.log", tag=str(folder), stdin=far_end)
        finally:
            os.close(far_end)
        try:
            _wait_unshared(process)
            create_ports(process.pid)
            os.write(near_end, b"go\n")
        except BaseException:
            process.end()
            raise
    finally:
        os.close(near_end)
    return process


def _wait_unshared(process: ProcessId) -> None:
    ours = Path("/proc/self/ns/net").stat().st_ino
    deadline = time.monotonic() + _UNSHARED_WITHIN_S
    while True:
        if not process.is_alive():
            raise ProcessTrouble("no network namespace could be made for the container")
        # The child is first a copy of this process, then unshare, then the shell: only its namespace tells.
        if Path(f"/proc/{process.pid}/ns/net").stat().st_ino != ours:
            return
        if time.monotonic() > deadline:
            raise ProcessTrouble("the container got no network namespace within 5 s")
        time.sleep(0.001)
