"""Slots of immutable records: filled before they are named, and used again only after every reader has left.

A record that equals a wanted one is found by its content and used as it is, so applying the same table again (also by
an agent that has just started) writes nothing. A slot that nothing names any more rests: it is filled anew only when
it has been idle for ``REST_S`` *and* an RCU grace period has ended since (``rcu``), and then only when there is no
slot left that was never used. Records are read within one run of a program and never across two, so the grace period
alone would do; the time is for people who look at a table while it changes.
"""

import time
from collections.abc import Callable, Iterable

from outrider.steering.arrays import MappedArray
from outrider.steering.rcu import wait_for_running_programs

REST_S = 1.0


class TableFull(Exception):
    """No slot is left; the message says of what."""


class RecordSlots:
    """The records of one table. Slot 0 stays empty, so that a zeroed field of a word names nothing."""

    def __init__(
        self,
        array: MappedArray,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[], None] = wait_for_running_programs,
    ) -> None:
        self._array, self._name, self._clock, self._wait = array, name, clock, wait
        self._slot_of: dict[bytes, int] = {}
        self._record_in: dict[int, bytes] = {}
        self._resting: dict[int, float] = {}  # slot to the time since when; oldest first
        self._grace_from = float("-inf")  # readers of before this moment have left
        self._fresh = 1
        self.filled = 0  # how many records were written, for tests and people

    def adopt(self, used: Iterable[int]) -> None:
        """Take over what an earlier agent left: ``used`` are the slots that words name now."""
        blank = bytes(len(self._array.read(0)))
        for slot in range(1, self._array.entries):
            record = self._array.read(slot)
            if record == blank:
                break  # slots are taken in order, so the first blank one ends them
            self._fresh = slot + 1
            self._remember(slot, record)
        self.keep_only(set(used))

    def place(self, record: bytes) -> int:
        """The slot that holds ``record``, filled now if none does. Raises ``TableFull``."""
        slot = self._slot_of.get(record)
        if slot is not None:
            self._resting.pop(slot, None)
            return slot
        slot = self._take()
        self._array.fill(slot, record)
        self.filled += 1
        self._remember(slot, record)
        return slot

    def keep_only(self, used: set[int]) -> None:
        """Let every slot rest that is not in ``used``; called when words no longer name them."""
        now = self._clock()
        for slot in self._record_in.keys() - used - self._resting.keys():
            self._resting[slot] = now

    def _take(self) -> int:
        if self._fresh < self._array.entries:
            self._fresh += 1
            return self._fresh - 1
        slot, since = next(iter(self._resting.items()), (0, 0.0))
        if not slot or since + REST_S > self._clock():
            raise TableFull(f"all {self._array.entries - 1} {self._name} are in use or resting")
        self._let_readers_leave(since)
        self._forget(slot)
        return slot

    def _let_readers_leave(self, since: float) -> None:
        """Return once every run of a program that began before ``since`` has ended; one wait serves many slots."""
        if self._grace_from < since:
            now = self._clock()
            self._wait()
            self._grace_from = now

    def _remember(self, slot: int, record: bytes) -> None:
        self._slot_of[record] = slot
        self._record_in[slot] = record

    def _forget(self, slot: int) -> None:
        record = self._record_in.pop(slot)
        if self._slot_of.get(record) == slot:
            del self._slot_of[record]
        del self._resting[slot]
