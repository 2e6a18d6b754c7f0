"""What a store is, with the meaning etcd v3 gives the words, so that a distributed store can follow the embedded one.

Source: etcd's API reference (KV, Watch, Txn, Compact). In short:

- The store has one **revision**, which grows by one with each transaction that changes something. It begins at 1.
- Each key carries the revision that created it, the one that changed it last, and a **version**: how many times it
  was written since it was created. A deleted key is gone; written again it is a new key of version 1.
- A **transaction** compares any number of keys, then does one list of operations or the other, all at one revision.
  An absent key compares as revisions and version 0; a comparison of its *value* is never true.
- A **watch** gives every change from a revision on, grouped by revision, none left out. When the store has forgotten
  that far back (**compaction**) it says so by ``CompactedError``: the watcher then lists and watches from there.

What is narrower than etcd: keys are printable ASCII without spaces, a key is written at most once in a transaction,
and there are no leases yet (they come with the replicated controller). Transactions of more than 128 operations need
``--max-txn-ops`` raised on a real etcd.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

FIRST_REVISION = 1
MAX_KEY_LENGTH = 1024
MAX_OPERATIONS = 4096


class StoreError(Exception):
    """The store cannot do what was asked; the message is one sentence for the operator."""


class CompactedError(StoreError):
    """History before ``compacted`` is forgotten: list, then watch from the listing's revision + 1."""

    def __init__(self, asked: int, compacted: int) -> None:
        self.compacted = compacted
        super().__init__(f"revision {asked} is compacted: history begins at {compacted}")


class FutureRevisionError(StoreError):
    """A revision was named that the store has not reached."""

    def __init__(self, asked: int, current: int) -> None:
        super().__init__(f"revision {asked} is in the future: the store is at {current}")


@dataclass(frozen=True, slots=True)
class Record:
    """One key as it stands. ``version`` counts writes since ``create_revision``."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Records in order of key, as of ``revision``."""

    records: tuple[Record, ...]
    revision: int


class Target(StrEnum):
    """What of a key is compared."""

    VALUE = "value"
    CREATE = "create_revision"
    MOD = "mod_revision"
    VERSION = "version"


class Relation(StrEnum):
    """How the key's own is compared with the operand (bytes in their natural order)."""

    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER = ">"
    LESS = "<"


@dataclass(frozen=True, slots=True)
class Compare:
    """One condition of a transaction. ``operand`` is bytes for ``Target.VALUE``, else an integer."""

    key: str
    target: Target
    relation: Relation
    operand: int | bytes

    def __post_init__(self) -> None:
        check_key(self.key)
        if isinstance(self.operand, bytes) != (self.target is Target.VALUE):
            raise ValueError(f"{self.target} of {self.key} cannot be compared with {self.operand!r}")

    def holds(self, record: Record | None) -> bool:
        """Whether the condition is met by the key's ``record``, None meaning that it is absent."""
        if record is None and self.target is Target.VALUE:
            return False
        actual = 0 if record is None else getattr(record, self.target.value)
        return _related(actual, self.relation, self.operand)


def _related(actual: int | bytes, relation: Relation, operand: int | bytes) -> bool:
    if isinstance(actual, bytes) and isinstance(operand, bytes):
        less, equal = actual < operand, actual == operand
    else:
        less, equal = int(actual) < int(operand), actual == operand
    match relation:
        case Relation.EQUAL:
            return equal
        case Relation.NOT_EQUAL:
            return not equal
        case Relation.GREATER:
            return not less and not equal
        case Relation.LESS:
            return less


def absent(key: str) -> Compare:
    """The key does not exist."""
    return Compare(key, Target.CREATE, Relation.EQUAL, 0)


def present(key: str) -> Compare:
    """The key exists."""
    return Compare(key, Target.CREATE, Relation.NOT_EQUAL, 0)


def unchanged_since(key: str, mod_revision: int) -> Compare:
    """The key was last written at exactly ``mod_revision`` (0: it is absent)."""
    return Compare(key, Target.MOD, Relation.EQUAL, mod_revision)


def has_value(key: str, value: bytes) -> Compare:
    """The key exists with this value."""
    return Compare(key, Target.VALUE, Relation.EQUAL, value)


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key; deleting an absent one changes nothing."""

    key: str


@dataclass(frozen=True, slots=True)
class Get:
    """Read a key, as the operations before it in the transaction left it."""

    key: str


Operation = Put | Delete | Get


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction did. ``revision`` is the store's afterwards, whether or not it grew.

    ``results`` has one entry for each operation done: the record written, deleted or read, None where there was none.
    """

    succeeded: bool
    revision: int
    results: tuple[Record | None, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One key written (``record``), or deleted (None)."""

    key: str
    record: Record | None


@dataclass(frozen=True, slots=True)
class Batch:
    """All changes of one revision that a watch asked for; never empty."""

    revision: int
    changes: tuple[Change, ...]


class Store(Protocol):
    """Revisioned keys. Everything raises ``StoreError`` when the storage beneath fails."""

    async def get(self, key: str) -> Record | None:
        """The key's record, None when absent."""
        ...

    async def range(self, prefix: str) -> Listing:
        """All keys that begin with ``prefix`` (empty: all there are)."""
        ...

    async def put(self, key: str, value: bytes) -> int:
        """Write a key unconditionally; returns the new revision."""
        ...

    async def delete(self, key: str) -> bool:
        """Delete a key unconditionally; returns whether it was there."""
        ...

    async def transact(
        self, compares: Sequence[Compare], success: Sequence[Operation], failure: Sequence[Operation] = ()
    ) -> Outcome:
        """Do ``success`` when all ``compares`` hold, ``failure`` otherwise, atomically.

        Raises ``ValueError`` for a transaction that ``check_operations`` refuses.
        """
        ...

    def watch(self, prefix: str, from_revision: int) -> AsyncIterator[Batch]:
        """Every change under ``prefix`` at ``from_revision`` or later, as it happens, without end.

        Nothing is queued for a slow watcher: it reads on where it was, or gets ``CompactedError`` (also at the
        start, when ``from_revision`` lies before what is kept). The iteration ends when the store is closed.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forget changes before ``revision``. Raises ``CompactedError`` or ``FutureRevisionError`` as etcd does."""
        ...

    async def close(self) -> None:
        """Let go of the storage; watches end. Doing it twice is harmless."""
        ...


def check_key(key: str) -> str:
    """Return ``key`` when it can be one; raise ``ValueError`` otherwise."""
    if not key or len(key) > MAX_KEY_LENGTH or not all("!" <= character <= "~" for character in key):
        raise ValueError(f"{key!r} is not a key: 1 to {MAX_KEY_LENGTH} printable ASCII characters without spaces")
    return key


def check_operations(operations: Sequence[Operation]) -> None:
    """Raise ``ValueError`` when ``operations`` cannot be one branch of a transaction."""
    if len(operations) > MAX_OPERATIONS:
        raise ValueError(f"a transaction of {len(operations)} operations: at most {MAX_OPERATIONS} are allowed")
    written: set[str] = set()
    for operation in operations:
        check_key(operation.key)
        if isinstance(operation, Get):
            continue
        if operation.key in written:
            raise ValueError(f"{operation.key} is written twice in one transaction")
        written.add(operation.key)


def prefix_end(prefix: str) -> str:
    """The first key after all those that begin with ``prefix``; for the empty prefix, one that follows all keys."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\x7f"
