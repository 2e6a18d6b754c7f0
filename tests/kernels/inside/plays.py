"""What scenarios are made of: a server with a guest, a client and an appliance, and questions to the kernel itself.

The stage and the servers are those of the steering tests, so a scenario here asks the same of another kernel. What is
attached where is asked of ``tc`` and of the kernel, not of the backend that says it attached it.
"""

import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outrider.domain.guest import VnicId
from outrider.steering import syscall
from outrider.steering.layout import PROGRAM_PREFIX
from steering.servers import Server
from steering.stage import Stage, inside

PROGRAMS = Path("/programs")
CLSACT, TCX = "clsact", "tcx"
_PROG_GET_NEXT_ID = 11  # enum bpf_cmd
GUEST, CLIENT = "g1", "c200"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question. ``play`` is given the kind of hooks expected, asserts, and returns what it measured."""

    name: str
    play: Callable[[str], dict[str, Any] | None]
    only: str | None = None


@contextlib.contextmanager
def stage_set() -> Iterator[Stage]:
    """A stage that is gone afterwards."""
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()


@contextlib.contextmanager
def server_with_guest(arm: bool = True) -> Iterator[tuple[Stage, Server, VnicId]]:
    """A server with guest ``g1``, client ``c200`` on its fabric, and the appliance ``nul`` guarded."""
    with stage_set() as stage:
        server = Server(stage, "s1", PROGRAMS)
        me = server.add_guest(1, arm=arm)
        server.add_client()
        server.add_appliance("nul")
        yield stage, server, me
        server.steering.close()


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
    names, number = [], 0
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
    """Send ``size`` bytes over TCP from the guest to the client at ``address``; what arrived there."""
    with inside(stage.namespace(CLIENT)):
        listener = socket.create_server((address, 7000))
    received = bytearray()

    def take() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            while data := connection.recv(1 << 16):
                received.extend(data)

    listener.settimeout(10)
    reader = threading.Thread(target=take)
    reader.start()
    with inside(stage.namespace(GUEST)):
        sender = socket.socket()
    with sender, listener:
        # Not create_connection, which asks the resolver, and with it for encodings that are not in this small world.
        sender.settimeout(10)
        sender.connect((address, 7000))
        sender.sendall(pattern(size))
        sender.shutdown(socket.SHUT_WR)
        reader.join(15)
    return bytes(received)


def pattern(size: int) -> bytes:
    """Bytes of which no two stretches look alike, so that a lost or repeated piece shows."""
    return b"".join(struct.pack(">I", number) for number in range(size // 4))
