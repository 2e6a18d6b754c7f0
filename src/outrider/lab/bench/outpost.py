"""A process in another network namespace that does what it is told: half of every rig happens inside a server or guest.

Netlink, tc programs and packet sockets belong to the namespace of the process that uses them, so the bench has a
process of its own in each namespace that it works in. An outpost holds one object; calling the outpost calls that
object's methods there. It ends when its standard input closes, which is also what a killed bench leaves behind.
"""

import importlib
import os
import pickle
import struct
import subprocess
import sys
import traceback
from typing import IO, Any

from outrider.lab.paths import LabPaths
from outrider.lab.processes import marked_environment
from outrider.lab.record import ProcessRecord

_LENGTH = struct.Struct("=Q")


class OutpostFailed(Exception):
    """What was asked of an outpost did not work; the message is the reason given there."""


class Outpost:
    """Runs the class ``kind`` in the network namespace of ``where``, made with ``arguments``.

    Raises ``OutpostFailed`` when that does not succeed. What goes to and fro is pickled, so both ends must be of one
    version; nobody else can write to the pipes.
    """

    def __init__(self, paths: LabPaths, where: ProcessRecord, kind: type, *arguments: Any) -> None:
        self._process = subprocess.Popen(
            ["nsenter", f"--net=/proc/{where.pid}/ns/net", "--", sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=marked_environment(paths.home),
            start_new_session=True,  # Ctrl-C is for the bench, which then ends its outposts in order
        )
        self._exchange((kind.__module__, kind.__qualname__, arguments))

    def call(self, method: str, *arguments: Any) -> Any:
        """The result of ``method`` there. Raises ``OutpostFailed`` with the reason."""
        return self._exchange((method, arguments))

    def send(self, method: str, *arguments: Any) -> None:
        """As ``call``, without waiting: its result is what ``receive`` returns next."""
        assert self._process.stdin is not None
        _write(self._process.stdin, (method, arguments))

    def receive(self) -> Any:
        """The result of the oldest ``send`` that has not been received. Raises ``OutpostFailed``."""
        assert self._process.stdout is not None
        try:
            fine, value = _read(self._process.stdout)
        except EOFError:
            raise OutpostFailed(f"an outpost ended (exit code {self._process.wait()})") from None
        if not fine:
            raise OutpostFailed(str(value))
        return value

    def close(self) -> None:
        """End the process and wait for it; it may be called twice."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()

    def _exchange(self, message: Any) -> Any:
        assert self._process.stdin is not None
        _write(self._process.stdin, message)
        return self.receive()


def _write(stream: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _read(stream: IO[bytes]) -> Any:
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(_LENGTH.unpack(length)[0]))


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    held: Any = None
    while True:
        try:
            request = _read(requests)
        except EOFError:
            return
        try:
            if held is None:
                module, name, arguments = request
                held = getattr(importlib.import_module(module), name)(*arguments)
                _write(answers, (True, None))
            else:
                method, arguments = request
                _write(answers, (True, getattr(held, method)(*arguments)))
        except Exception as error:  # the bench decides what a failure means; here it is only passed on
            if os.environ.get("OUTRIDER_LOG") == "debug":
                traceback.print_exc()
            _write(answers, (False, f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, answers)
