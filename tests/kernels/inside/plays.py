"""What scenarios are made of: a server with a guest, a client and an appliance, and questions to the kernel itself.

The stage and the servers are those of the steering tests, so a scenario here asks the same of another kernel. What is
attached where is asked of ``tc`` and of the kernel, not of the backend that says it attached it.
"""

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outrider.domain.intent import WireIntent
from outrider.pipeline.table import SteeringTable
from outrider.steering import syscall
from outrider.steering.layout import PROGRAM_PREFIX
from steering.servers import Server, wire
from steering.stage import Stage, inside, run

PROGRAMS = Path("/programs")
CLSACT, TCX = "clsact", "tcx"
_PROG_GET_NEXT_ID = 11  # enum bpf_cmd
GUEST, CLIENT = "g1", "c200"


class QuickStage(Stage):
    """A stage that steps into a namespace itself: ``ip netns exec`` mounts a sysfs each time, slow when emulated."""

    def sh(self, name: str, command: str) -> str:
        """Run a command line in a namespace."""
        with inside(self.namespace(name)):
            return run("sh", "-c", command)


@dataclass
class World:
    """One server with guest ``g1``, client ``c200`` on its fabric and the appliance ``nul``, built once for a boot.

    Emulated, a world takes seconds to build, so scenarios share it: each says first how the wire is to be, and asks
    for what was counted since then.
    """

    hooks: str

    def __post_init__(self) -> None:
        self.stage = QuickStage()
        self.server = Server(self.stage, "s1", PROGRAMS)
        self.me = self.server.add_guest(1)
        self.server.add_client()
        self.server.add_appliance("nul")

    def put_on_path(self, lane: int) -> SteeringTable:
        """The wire takes a local path through the appliance on ``lane``; counting begins."""
        return self.put(wire(self.me, self.server.local_path(1, "nul", lane)))

    def put(self, intent: WireIntent | None, **more: Any) -> SteeringTable:
        """The wire is as ``intent`` says (None: nobody has said anything); counting begins."""
        table = self.server.apply(*([intent] if intent else []), **more)
        self._before = self._counts()
        return table

    def counted(self) -> dict[str, int]:
        """Frames since the wire was put as it is: of the wire, of the ports by ``in-…`` and ``out-…``, and drops."""
        return {name: frames - self._before[name] for name, frames in self._counts().items()}

    def counted_when(self, done: Callable[[dict[str, int]], bool], within_s: float = 5.0) -> dict[str, int]:
        """``counted`` as soon as ``done`` agrees, or as it is at the deadline: the caller asserts."""
        deadline = time.monotonic() + within_s
        while not done(counted := self.counted()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return counted

    def _counts(self) -> dict[str, int]:
        steering = self.server.steering
        counts = dict(steering.wire_counters(self.me).counts)
        for side in ("in", "out"):
            at_port = steering.appliance_counters(self.server.ifindex(f"nul-{side}"))
            counts |= {f"{side}-{name}": count for name, count in at_port.items()}
        counts |= {f"drop-{name}": count for name, count in steering.drops().items()}
        return {name: count.frames for name, count in counts.items()}

    def close(self) -> None:
        """Nothing is left of it."""
        self.server.steering.close()
        self.stage.close()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question. ``play`` asserts in the world it is given, and returns what it measured."""

    name: str
    play: Callable[[World], dict[str, Any] | None]
    only: str | None = None


# -- questions to the kernel


def program_name(number: int) -> str:
    """The name of a loaded program; "" when it is gone."""
    try:
        fd = syscall.program_fd(number)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return ""
        raise
    try:
        return syscall.program_info(fd).name
    finally:
        os.close(fd)


def programs_of_ours() -> list[str]:
    """Names of all programs of ours that the kernel still has, attached or not."""
    number = 0
    names: list[str] = []
    while True:
        try:
            _, answer = syscall.bpf(_PROG_GET_NEXT_ID, struct.pack("<II", number, 0))  # type: ignore[arg-type]
        except OSError as error:
            if error.errno == errno.ENOENT:
                return [name for name in names if name.startswith(PROGRAM_PREFIX)]
            raise
        number = struct.unpack_from("<I", answer, 4)[0]
        names.append(program_name(number))


def attached(server: Server, port: str, hooks: str) -> tuple[list[str], list[str]]:
    """Names of the programs at the kernel's ingress and egress of a port, by the named kind of hooks."""
    if hooks == TCX:
        with server.inside():
            ids = [syscall.query(server.ifindex(port), hook) for hook in (syscall.TCX_INGRESS, syscall.TCX_EGRESS)]
        ingress, egress = ([program_name(number) for number in found] for found in ids)
        return ingress, egress
    ingress, egress = (_filter_names(server, port, side) for side in ("ingress", "egress"))
    return ingress, egress


def _filter_names(server: Server, port: str, side: str) -> list[str]:
    words = server.stage.sh(server.name, f"tc filter show dev {port} {side}").split()
    return [words[at + 1] for at, word in enumerate(words) if word == "name"]


def qdiscs(server: Server, port: str) -> list[str]:
    """Kinds of the queueing disciplines of a port, as tc(8) lists them."""
    lines = server.stage.sh(server.name, f"tc qdisc show dev {port}").splitlines()
    return [line.split()[1] for line in lines]


# -- a stream


def stream(stage: Stage, size: int, address: str = "10.9.0.200") -> bytes:
    """Send ``size`` bytes over TCP from the guest to the client at ``address``; what arrived there.

    Raises ``TimeoutError`` when nothing moves for ten seconds.
    """
    with inside(stage.namespace(CLIENT)):
        listener = socket.create_server((address, 7000))
    with inside(stage.namespace(GUEST)):
        sender = socket.socket()
    with listener, sender:
        for end in (listener, sender):
            end.settimeout(10)
        # Not create_connection, which asks the resolver, and with it for encodings that are not in this small world.
        sender.connect((address, 7000))
        receiver, _ = listener.accept()
        receiver.settimeout(10)
        sending = threading.Thread(target=_send_all, args=(sender, pattern(size)))
        sending.start()
        with receiver:
            received = b"".join(iter(lambda: receiver.recv(1 << 16), b""))
        sending.join()
    return received


def _send_all(sender: socket.socket, data: bytes) -> None:
    sender.sendall(data)
    sender.shutdown(socket.SHUT_WR)


def pattern(size: int) -> bytes:
    """Bytes of which no two stretches look alike, so that a lost or repeated piece shows."""
    return b"".join(struct.pack(">I", number) for number in range(size // 4))
