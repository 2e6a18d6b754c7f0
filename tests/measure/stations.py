"""Network namespaces for tests, each held by a process that ends with the test."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """A network namespace held by a process."""

    pid: int

    def run(self, *commands: str) -> None:
        """Run ``ip`` commands inside."""
        for command in commands:
            subprocess.run(["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command.split()], check=True)


@contextmanager
def machine_maker() -> Iterator[Callable[[], Machine]]:
    """Makes network namespaces that end with the test."""
    holders: list[subprocess.Popen[bytes]] = []

    def make() -> Machine:
        holder = subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        holders.append(holder)
        ours = Path("/proc/self/ns/net").readlink()
        while holder.poll() is None and Path(f"/proc/{holder.pid}/ns/net").readlink() == ours:
            os.sched_yield()
        machine = Machine(holder.pid)
        machine.run("ip link set lo up")
        return machine

    try:
        yield make
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def cable(one: Machine, name: str, other: Machine, far_name: str) -> None:
    """Join two namespaces by a veth pair, up on both sides."""
    one.run(
        f"ip link add {name} type veth peer name {far_name} netns {other.pid}",
        f"ip link set {name} up",
    )
    other.run(f"ip link set {far_name} up")
