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
from typing import Any, Literal

_one_speaks = threading.Lock()

Word = Literal["begin", "hush"]
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

    def tell(self, word: Word) -> None:
        """Say a word that the process listens for."""
        self._write({word: True})

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
            said = _parsed(line)
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


def _parsed(line: str) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"error": f"said something that is not JSON: {line[:80]!r}"}
    return said


class Signals:
    """What the demo tells a measuring process after its order: to begin, to say no more, and that it is over."""

    def __init__(self) -> None:
        self._begin = threading.Event()
        self._hush = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def is_over(self) -> bool:
        """True once the process should come to its end."""
        return self._over.is_set()

    def is_hushed(self) -> bool:
        """True once the process should send nothing more, and go on listening until it is over."""
        return self._hush.is_set()

    def await_begin(self) -> None:
        """Return when told to begin, or when it is over before that."""
        self._begin.wait()

    def _listen(self) -> None:
        for line in sys.stdin:
            (self._hush if "hush" in json.loads(line) else self._begin).set()
        for event in (self._over, self._hush, self._begin):
            event.set()


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
    """Print one line of JSON, now, whole. A parent that is gone is no error: the process is about to end anyway."""
    with _one_speaks, contextlib.suppress(BrokenPipeError):
        print(json.dumps(line, separators=(",", ":")), flush=True)
