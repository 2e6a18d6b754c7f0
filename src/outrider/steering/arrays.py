"""The tables, mapped into this process: a word written here is what the next packet reads.

A word is stored by one aligned 64-bit machine store, so a reader finds the old or the new value (DESIGN 4.2). A record
is stored in pieces and therefore only while no word names it.
"""

import ctypes
import mmap
import threading

from outrider.steering.layout import Map

_PAGE = mmap.PAGESIZE


class MappedArray:
    """A memory-mapped ``BPF_MAP_TYPE_ARRAY``. Indexes out of range raise ``IndexError``."""

    def __init__(self, fd: int, table: Map, entries: int) -> None:
        self._table, self.entries, self._stride = table, entries, table.stride
        length = -(-entries * table.stride // _PAGE) * _PAGE
        self._memory = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._view = memoryview(self._memory)

    def read(self, index: int) -> bytes:
        """The record at ``index``."""
        start = self._start(index)
        return bytes(self._view[start : start + self._table.value])

    def fill(self, index: int, record: bytes) -> None:
        """Write a record that no word names."""
        start = self._start(index)
        self._view[start : start + len(record)] = record

    def _start(self, index: int) -> int:
        if not 0 <= index < self.entries:
            raise IndexError(f"{self._table.name} has no entry {index}")
        return index * self._stride

    def close(self) -> None:
        """Unmap; the table itself lives on in the programs."""
        self._view.release()
        self._memory.close()


class MappedWords(MappedArray):
    """A memory-mapped array of 64-bit words."""

    def __init__(self, fd: int, table: Map, entries: int) -> None:
        super().__init__(fd, table, entries)
        # A ctypes item is stored by a single machine store; a slice of the memory map would be copied byte by byte.
        self._words = (ctypes.c_uint64 * entries).from_buffer(self._memory)

    def load(self, index: int) -> int:
        """The word at ``index``."""
        self._start(index)
        return int(self._words[index])

    def store(self, index: int, word: int) -> None:
        """Write the word at ``index`` in one piece."""
        self._start(index)
        self._words[index] = word

    def used(self) -> list[tuple[int, int]]:
        """All (index, word) that are not zero."""
        blank = bytes(_PAGE)
        found = []
        for start in range(0, self.entries * 8, _PAGE):
            page = self._view[start : start + _PAGE]
            if page != blank[: len(page)]:
                first = start // 8
                found += [(first + i, int(word)) for i, word in enumerate(page.cast("Q")) if word]
        return [(index, word) for index, word in found if index < self.entries]

    def close(self) -> None:
        """Unmap; the table itself lives on in the programs."""
        del self._words
        super().close()


def fence() -> None:
    """Order the stores before this call before those after it, on machines that would reorder them."""
    with _FENCE:
        pass


_FENCE = threading.Lock()
