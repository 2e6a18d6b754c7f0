"""The embedded store: one SQLite file, owned by one controller.

All calls run in one thread of the store's own, so that the event loop never waits for a disk and SQLite never sees
two writers. A lock on a file beside the database keeps a second controller out for as long as this one lives (the
kernel drops it with the process, however that ends); reading the file with other tools stays possible.

Each transaction is on the disk before it is answered (``synchronous=FULL``): a policy that was accepted is not
forgotten by a power cut.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from outrider.store.contract import (
    Batch,
    Change,
    CompactedError,
    Compare,
    Delete,
    FutureRevisionError,
    Get,
    Listing,
    Operation,
    Outcome,
    Put,
    Record,
    StoreError,
    check_key,
    check_operations,
    prefix_end,
)
from outrider.store.memory import DEFAULT_HISTORY
from outrider.store.schema import prepare_schema
from outrider.store.wakeup import Wakeup

T = TypeVar("T")

WATCH_CHUNK = 256  # revisions read at a time: what a far-behind watcher may hold in memory
_RECORD = "key, value, create_revision, mod_revision, version"


class SqliteStore:
    """Satisfies ``Store``. Made by ``open``; ``history`` is how many revisions of changes are kept for watchers."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int, history: int) -> None:
        self._path = path
        self._connection = connection
        self._lock: int | None = lock
        self._history = history
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._wakeup = Wakeup()

    @classmethod
    async def open(cls, path: Path, history: int = DEFAULT_HISTORY) -> "SqliteStore":
        """The store in the file ``path``, made when there is none.

        Raises ``StoreError`` when the file is damaged, cannot be written, is another program's, was written by a
        newer Outrider, or is in use by another controller.
        """
        connection, lock = await asyncio.to_thread(_open_file, path)
        return cls(path, connection, lock, history)

    async def get(self, key: str) -> Record | None:
        """See ``Store.get``."""
        check_key(key)
        return await self._call(lambda: self._record(key))

    async def range(self, prefix: str) -> Listing:
        """See ``Store.range``."""
        return await self._call(lambda: self._read_listing(prefix))

    async def put(self, key: str, value: bytes) -> int:
        """See ``Store.put``."""
        return (await self.transact((), (Put(key, value),))).revision

    async def delete(self, key: str) -> bool:
        """See ``Store.delete``."""
        return (await self.transact((), (Delete(key),))).results[0] is not None

    async def transact(
        self, compares: Sequence[Compare], success: Sequence[Operation], failure: Sequence[Operation] = ()
    ) -> Outcome:
        """See ``Store.transact``."""
        check_operations(success)
        check_operations(failure)
        outcome, changed = await self._call(lambda: self._write(tuple(compares), success, failure))
        if changed:
            self._wakeup.ring()
        return outcome

    async def watch(self, prefix: str, from_revision: int) -> AsyncIterator[Batch]:
        """See ``Store.watch``."""
        next_revision = from_revision
        while True:
            ticket = self._wakeup.ticket()
            start = next_revision
            batches, next_revision = await self._call(partial(self._read_changes, prefix, start))
            for batch in batches:
                yield batch
            if self._wakeup.is_over:
                return
            if next_revision == start:
                await ticket.wait()
                if self._wakeup.is_over:
                    return

    async def compact(self, revision: int) -> None:
        """See ``Store.compact``."""
        await self._call(lambda: self._compact(revision))

    async def close(self) -> None:
        """See ``Store.close``."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        self._wakeup.finish()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)
        os.close(lock)

    async def _call(self, work: Callable[[], T]) -> T:
        """``work`` done in the store's thread; a caller that is cancelled does not cut it short."""
        if self._lock is None:
            raise StoreError("the store is closed")
        try:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _write(
        self, compares: Sequence[Compare], success: Sequence[Operation], failure: Sequence[Operation]
    ) -> tuple[Outcome, bool]:
        with _transaction(self._connection):
            revision = self._meta("revision")
            succeeded = all(compare.holds(self._record(compare.key)) for compare in compares)
            changes: list[Change] = []
            branch = success if succeeded else failure
            results = tuple(self._do(operation, revision + 1, changes) for operation in branch)
            if changes:
                revision += 1
                self._log(revision, changes)
        return Outcome(succeeded, revision, results), bool(changes)

    def _do(self, operation: Operation, revision: int, changes: list[Change]) -> Record | None:
        before = self._record(operation.key)
        match operation:
            case Get():
                return before
            case Put(key, value):
                created, version = (before.create_revision, before.version + 1) if before else (revision, 1)
                row = (key, value, created, revision, version)
                self._connection.execute(f"INSERT OR REPLACE INTO record ({_RECORD}) VALUES (?, ?, ?, ?, ?)", row)
                changes.append(Change(key, Record(*row)))
                return Record(*row)
            case Delete(key):
                if before is not None:
                    self._connection.execute("DELETE FROM record WHERE key = ?", (key,))
                    changes.append(Change(key, None))
                return before

    def _log(self, revision: int, changes: list[Change]) -> None:
        rows = [(revision, number, change.key, *_columns(change.record)) for number, change in enumerate(changes)]
        self._connection.executemany("INSERT INTO change VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._set_meta("revision", revision)
        if revision - self._history > self._meta("compacted"):
            self._forget(revision - self._history)

    def _forget(self, before: int) -> None:
        self._connection.execute("DELETE FROM change WHERE revision < ?", (before,))
        self._set_meta("compacted", before)

    def _compact(self, revision: int) -> None:
        with _transaction(self._connection):
            compacted, current = self._meta("compacted"), self._meta("revision")
            if revision <= compacted:
                raise CompactedError(revision, compacted)
            if revision > current:
                raise FutureRevisionError(revision, current)
            self._forget(revision)

    def _read_listing(self, prefix: str) -> Listing:
        sql = f"SELECT {_RECORD} FROM record WHERE key >= ? AND key < ? ORDER BY key"
        rows = self._connection.execute(sql, (prefix, prefix_end(prefix))).fetchall()
        return Listing(tuple(Record(*row) for row in rows), self._meta("revision"))

    def _read_changes(self, prefix: str, start: int) -> tuple[list[Batch], int]:
        """The batches from ``start`` on, at most ``WATCH_CHUNK`` revisions of them, and where to read on."""
        compacted, current = self._meta("compacted"), self._meta("revision")
        if start < compacted:
            raise CompactedError(start, compacted)
        if start > current:
            return [], start
        stop = min(current, max(start, compacted) + WATCH_CHUNK - 1)
        rows = self._connection.execute(
            "SELECT revision, key, value, create_revision, version FROM change"
            " WHERE revision BETWEEN ? AND ? AND key >= ? AND key < ? ORDER BY revision, number",
            (start, stop, prefix, prefix_end(prefix)),
        ).fetchall()
        by_revision: dict[int, list[Change]] = {}
        for revision, key, value, created, version in rows:
            record = None if value is None else Record(key, value, created, revision, version)
            by_revision.setdefault(revision, []).append(Change(key, record))
        return [Batch(revision, tuple(changes)) for revision, changes in by_revision.items()], stop + 1

    def _record(self, key: str) -> Record | None:
        row = self._connection.execute(f"SELECT {_RECORD} FROM record WHERE key = ?", (key,)).fetchone()
        return Record(*row) if row else None

    def _meta(self, name: str) -> int:
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0])

    def _set_meta(self, name: str, value: int) -> None:
        self._connection.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))


def _columns(record: Record | None) -> tuple[bytes | None, int | None, int | None]:
    return (record.value, record.create_revision, record.version) if record else (None, None, None)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """``BEGIN IMMEDIATE`` … ``COMMIT``, or ``ROLLBACK`` when the block, or the commit itself (a full disk), fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _open_file(path: Path) -> tuple[sqlite3.Connection, int]:
    lock = _lock_beside(path)
    try:
        return _connect(path), lock
    except BaseException:
        os.close(lock)
        raise


def _lock_beside(path: Path) -> int:
    name = path.with_name(f"{path.name}.lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: the state cannot be kept here: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreError(f"{path} is in use by another controller") from error
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened: {error}") from error
    try:
        prepare_schema(path, connection)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{path} cannot be used: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection
