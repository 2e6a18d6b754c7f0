"""The live timeline: what a demo says while it runs, each line with its time, and kept for the report.

On a terminal the lines are coloured and the step under way is shown below them; elsewhere it is plain text, one line
each, so that a log reads like the screen.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.markup import escape

from outrider.lab.demo.result import Moment

Tone = Literal["step", "fact", "good", "bad"]

_STYLES: dict[Tone, str] = {"step": "bold", "fact": "", "good": "green", "bad": "bold red"}
_SIGNS: dict[Tone, str] = {"step": "▸", "fact": "·", "good": "✓", "bad": "✗"}


class Narrator:
    """Says and keeps the lines of one demo. Times are given in Unix seconds and shown from the demo's beginning."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.time()
        self._moments: list[Moment] = []
        self._lock = threading.Lock()  # attacks are heard of in another thread

    def since(self, at: float) -> float:
        """Seconds from the demo's beginning to ``at``."""
        return at - self.began

    def say(self, text: str, tone: Tone = "fact", *, at: float | None = None, guest: str = "") -> None:
        """One line, at the time ``at`` (now when None)."""
        seconds = self.since(time.time() if at is None else at)
        with self._lock:
            self._moments.append(Moment(seconds, text, guest))
            style = _STYLES[tone]
            line = f"{_SIGNS[tone]} {escape(text)}"
            styled = f"[{style}]{line}[/{style}]" if style else line
            self.console.print(f"[dim]{seconds:7.2f} s[/dim]  {styled}", highlight=False, soft_wrap=True)

    @contextmanager
    def under_way(self, text: str) -> Iterator[None]:
        """Show on a terminal that ``text`` is being waited for."""
        if not self.console.is_terminal:
            yield
            return
        with self.console.status(f"[dim]{escape(text)}[/dim]", spinner="dots"):
            yield

    def moments(self) -> tuple[Moment, ...]:
        """Everything said, in the order of its times."""
        with self._lock:
            return tuple(sorted(self._moments, key=lambda moment: moment.at))
