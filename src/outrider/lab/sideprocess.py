"""The processes that send, receive and capture beside the demo: how they are started, heard and ended.

Measuring must not share an interpreter with what it measures, nor with a live display. Each measuring process speaks
one line of JSON at a time: it gets its order as one line on stdin, answers ``{"ready": true}``, may say things while
it works, and works until stdin closes; then it prints ``{"result": …}`` and ends. Since a closed stdin is also what a
killed parent leaves, nothing outlives the demo.
"""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

Heard = Callable[[dict[str, Any]], None]


class MeasuringFailed(Exception):
    """A measuring process could not do its work; the message says why."""


class SideProcess:
    """One measuring process: ``python -m module``."""

    def __init__(self, module: str, order: dict[str, Any], on_line: Heard | None = None) -> None:
        self._module = module
        self._on_line = on_line
        self._ready = threading.Event()
        self._result: Any = None
        self._error: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the demo, which then ends this process in order
        )
        self._complaints: list[str] = []
        self._listeners = [
            threading.Thread(target=self._listen, name=f"listen-{module}", daemon=True),
            threading.Thread(target=self._collect_complaints, name=f"stderr-{module}", daemon=True),
        ]
        for listener in self._listeners:
            listener.start()
        self._write(order)

    @property
    def pid(self) -> int:
        """The process id, for reports of what was left behind."""
        return self._process.pid

    def wait_ready(self, deadline_s: float = 10.0) -> None:
        """Return once the process works; raise ``MeasuringFailed`` when it ended or the deadline passed."""
        if not self._ready.wait(deadline_s):
            self.kill()
            raise MeasuringFailed(f"{self._module} was not ready within {deadline_s:g} s{self._why()}")
        if self._error is not None:
            raise MeasuringFailed(f"{self._module}: {self._error}")

    def begin(self) -> None:
        """Let a process that is ready and waits for this word begin."""
        self._write({"begin": True})

    def stop(self, deadline_s: float = 20.0) -> Any:
        """End the process in order and return its result; raise ``MeasuringFailed`` when there is none."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended already: what it said before is what counts
            self._process.stdin.close()
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise MeasuringFailed(f"{self._module} did not end within {deadline_s:g} s{self._why()}") from None
        for listener in self._listeners:
            listener.join(deadline_s)
        if self._error is not None or self._result is None:
            raise MeasuringFailed(f"{self._module}: {self._error or 'gave no result'}{self._why()}")
        return self._result

    def kill(self) -> None:
        """End the process at once; harmless when it has ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _write(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._error = "ended before it took its order"

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "ready" in said:
                self._ready.set()
            elif "result" in said:
                self._result = said["result"]
            elif "error" in said:
                self._error = said["error"]
                self._ready.set()
            elif self._on_line is not None:
                self._on_line(said)
        if not self._ready.is_set():
            self._error = self._error or "ended before it was ready"
            self._ready.set()

    def _collect_complaints(self) -> None:
        assert self._process.stderr is not None
        self._complaints.extend(self._process.stderr)

    def _why(self) -> str:
        return f" ({self._complaints[-1].strip()})" if self._complaints else ""


class Signals:
    """What the demo tells a measuring process after its order: to begin, and that it is over."""

    def __init__(self) -> None:
        self._begin = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def is_over(self) -> bool:
        """True once the process should come to its end."""
        return self._over.is_set()

    def await_begin(self) -> None:
        """Return when told to begin, or when it is over before that."""
        self._begin.wait()

    def _listen(self) -> None:
        while sys.stdin.readline():
            self._begin.set()
        self._over.set()
        self._begin.set()


def serve(work: Callable[[dict[str, Any], Signals], Any]) -> int:
    """The other end: read the order, run ``work(order, signals)``, print what it returns. Exit status 0 or 1.

    ``work`` calls ``say({"ready": True})`` once it can be relied on, and returns soon after it is over.
    """
    order = json.loads(sys.stdin.readline() or "{}")
    try:
        say({"result": work(order, Signals())})
    except OSError as error:
        say({"error": str(error)})
        return 1
    return 0


def say(line: dict[str, Any]) -> None:
    """Print one line of JSON, now. A parent that is gone is not an error: the process is about to end anyway."""
    try:
        print(json.dumps(line, separators=(",", ":")), flush=True)
    except BrokenPipeError:
        sys.stderr.close()
