"""Waking watchers when something was written.

A watcher only needs to know that there is more to read, never what: so there is no queue to overflow, one waiting
place serves any number of watchers, and a wake-up too many costs one look.
"""

import asyncio


class Wakeup:
    """One waiting place in one event loop."""

    def __init__(self) -> None:
        self._next: asyncio.Event = asyncio.Event()
        self.is_over = False

    def ticket(self) -> asyncio.Event:
        """Take this *before* looking; waiting on it afterwards misses nothing written since."""
        return self._next

    def ring(self) -> None:
        """Something was written."""
        self._next.set()
        if not self.is_over:
            self._next = asyncio.Event()

    def finish(self) -> None:
        """Nothing will be written any more."""
        self.is_over = True
        self.ring()
