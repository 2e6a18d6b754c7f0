"""A store in memory: for tests, and the plainest statement of what the contract means.

The SQLite store is tested against this one with the same random operations.
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from outrider.store.contract import (
    FIRST_REVISION,
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
)
from outrider.store.wakeup import Wakeup

# Watchers read at once and list again when they fall behind; the controller's ledger is one large value that changes
# often, and each revision kept holds all of it.
DEFAULT_HISTORY = 100


class MemoryStore:
    """Satisfies ``Store``. ``history`` is how many revisions of changes are kept for watchers."""

    def __init__(self, history: int = DEFAULT_HISTORY) -> None:
        self._history = history
        self._records: dict[str, Record] = {}
        self._batches: deque[Batch] = deque()  # one for each revision, without gaps
        self._revision = FIRST_REVISION
        self._compacted = 0
        self._wakeup = Wakeup()

    async def get(self, key: str) -> Record | None:
        """See ``Store.get``."""
        self._check_open()
        return self._records.get(check_key(key))

    async def range(self, prefix: str) -> Listing:
        """See ``Store.range``."""
        self._check_open()
        keys = sorted(key for key in self._records if key.startswith(prefix))
        return Listing(tuple(self._records[key] for key in keys), self._revision)

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
        self._check_open()
        check_operations(success)
        check_operations(failure)
        succeeded = all(compare.holds(self._records.get(compare.key)) for compare in compares)
        changes: list[Change] = []
        results = tuple(self._do(operation, changes) for operation in (success if succeeded else failure))
        if changes:
            self._revision += 1
            self._batches.append(Batch(self._revision, tuple(changes)))
            self._forget(self._revision - self._history)
            self._wakeup.ring()
        return Outcome(succeeded, self._revision, results)

    def _do(self, operation: Operation, changes: list[Change]) -> Record | None:
        before = self._records.get(operation.key)
        match operation:
            case Get():
                return before
            case Put(key, value):
                revision = self._revision + 1
                created = before.create_revision if before else revision
                record = Record(key, value, created, revision, before.version + 1 if before else 1)
                self._records[key] = record
                changes.append(Change(key, record))
                return record
            case Delete(key):
                if before is not None:
                    del self._records[key]
                    changes.append(Change(key, None))
                return before

    async def watch(self, prefix: str, from_revision: int) -> AsyncIterator[Batch]:
        """See ``Store.watch``."""
        self._check_open()
        next_revision = from_revision
        while True:
            ticket = self._wakeup.ticket()
            if next_revision < self._compacted:
                raise CompactedError(next_revision, self._compacted)
            for batch in self._batches_since(next_revision):
                next_revision = batch.revision + 1
                wanted = tuple(change for change in batch.changes if change.key.startswith(prefix))
                if wanted:
                    yield Batch(batch.revision, wanted)
            if self._wakeup.is_over:
                return
            await ticket.wait()

    def _batches_since(self, revision: int) -> list[Batch]:
        first = self._batches[0].revision if self._batches else revision
        return [*islice(self._batches, max(0, revision - first), None)]

    async def compact(self, revision: int) -> None:
        """See ``Store.compact``."""
        self._check_open()
        if revision <= self._compacted:
            raise CompactedError(revision, self._compacted)
        if revision > self._revision:
            raise FutureRevisionError(revision, self._revision)
        self._forget(revision)

    def _forget(self, before: int) -> None:
        if before <= self._compacted:
            return
        self._compacted = before
        while self._batches and self._batches[0].revision < before:
            self._batches.popleft()

    async def close(self) -> None:
        """See ``Store.close``."""
        self._wakeup.finish()

    def _check_open(self) -> None:
        if self._wakeup.is_over:
            raise StoreError("the store is closed")
