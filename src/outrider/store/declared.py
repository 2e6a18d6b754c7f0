"""What users have declared, kept in a store.

One key for each object, its value the manifest as JSON. Besides, one guard key is written by every change: a change
was checked against *all* objects (a policy's controls against the classes), so it may only be made when nothing
else has changed since.
"""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from outrider.manifests.convert import Declared, from_manifest, kind_of, to_manifest
from outrider.manifests.kinds import Kind
from outrider.manifests.problems import ManifestError, Origin
from outrider.store.contract import CompactedError, Delete, Operation, Put, Store, StoreError, unchanged_since

PREFIX = "/outrider/declared/"
GUARD = "/outrider/declared-guard"


class DeclaredChanged(Exception):
    """Somebody else changed what is declared in between: look again, check again, try again."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """Everything declared (without the built-in classes), in order of kind and name, at ``revision``."""

    values: tuple[Declared, ...] = ()
    revision: int = 0

    def find(self, kind: Kind, name: str) -> Declared | None:
        """The object of that kind and name, None when there is none."""
        return next((value for value in self.values if kind_of(value) is kind and value.name == name), None)


class DeclaredObjects:
    """The declared objects in ``store``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> Declarations:
        """Everything declared now. Raises ``StoreError`` when a row cannot be understood."""
        return (await self._read())[0]

    async def change(
        self, put: Sequence[Declared], delete: Sequence[tuple[Kind, str]], at_revision: int
    ) -> Declarations:
        """Make a change that was checked against the declarations of ``at_revision``; returns those afterwards.

        Raises ``DeclaredChanged`` when they have changed since.
        """
        operations: list[Operation] = [Put(GUARD, b"")]
        operations += [Put(key_of(kind_of(value), value.name), _text(value)) for value in put]
        operations += [Delete(key_of(kind, name)) for kind, name in delete]
        outcome = await self._store.transact((unchanged_since(GUARD, at_revision),), operations)
        if not outcome.succeeded:
            raise DeclaredChanged("what is declared has changed meanwhile")
        return await self.read()

    async def watch(self) -> AsyncIterator[Declarations]:
        """What is declared now, and again after each change; changes in quick succession may be seen as one."""
        while True:
            declarations, listed_at = await self._read()
            yield declarations
            try:
                async for _ in self._store.watch(GUARD, listed_at + 1):
                    declarations, listed_at = await self._read()
                    yield declarations
            except CompactedError:
                continue
            return

    async def _read(self) -> tuple[Declarations, int]:
        # One listing of the common prefix, so that objects and guard are of the same revision.
        listing = await self._store.range(PREFIX.removesuffix("/"))
        guard = next((record.mod_revision for record in listing.records if record.key == GUARD), 0)
        rows = [(record.key, record.value) for record in listing.records if record.key.startswith(PREFIX)]
        return Declarations(tuple(_value(key, value) for key, value in rows), guard), listing.revision


def key_of(kind: Kind, name: str) -> str:
    """The store's key of an object; names of guests may hold characters that keys may not."""
    return f"{PREFIX}{kind.name}/{quote(name, safe='')}"


def _text(value: Declared) -> bytes:
    return json.dumps(to_manifest(value), ensure_ascii=False, separators=(",", ":")).encode()


def _value(key: str, text: bytes) -> Declared:
    try:
        return from_manifest(json.loads(text), Origin(key, 1))
    except (ManifestError, ValueError) as error:
        raise StoreError(f"the store holds an object that cannot be read: {str(error).splitlines()[0]}") from error
