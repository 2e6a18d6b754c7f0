"""The two stores give the same answers to the same questions, whatever is done to them."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from outrider.store.contract import (
    Batch,
    Compare,
    Delete,
    Get,
    Operation,
    Put,
    Relation,
    Store,
    StoreError,
    Target,
)
from outrider.store.memory import MemoryStore
from outrider.store.sqlite import SqliteStore

KEYS = st.sampled_from(["/a", "/a/1", "/a/2", "/a0", "/b", "/b/~", "/", "~~"])
PREFIXES = st.sampled_from(["", "/", "/a", "/a/", "/b", "~", "/none"])
VALUES = st.sampled_from([b"", b"x", b"y", b"\xff\x00"])
REVISIONS = st.integers(-1, 40)
INTEGER_COMPARES = st.builds(
    Compare, KEYS, st.sampled_from([Target.CREATE, Target.MOD, Target.VERSION]), st.sampled_from(Relation), REVISIONS
)
VALUE_COMPARES = st.builds(Compare, KEYS, st.just(Target.VALUE), st.sampled_from(Relation), VALUES)
OPERATIONS = st.lists(
    st.one_of(st.builds(Put, KEYS, VALUES), st.builds(Delete, KEYS), st.builds(Get, KEYS)), max_size=4
)
HISTORY = 12


async def available(store: Store, prefix: str, start: int, expected: int) -> list[Batch]:
    """What a watch gives before it would wait; patient for the ``expected`` first ones, not for more."""
    watch = store.watch(prefix, start)
    batches: list[Batch] = []
    while True:
        step: asyncio.Task[Batch] = asyncio.ensure_future(watch.__anext__())
        done, _ = await asyncio.wait([step], timeout=10 if len(batches) < expected else 0.01)
        if not done:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
            await watch.aclose()  # type: ignore[attr-defined]
            return batches
        batches.append(step.result())


async def answer(store: Store, ask: Callable[[Store], Awaitable[Any]]) -> Any:
    """What the store says, or how it refuses."""
    try:
        return await ask(store)
    except (StoreError, ValueError) as error:
        return type(error), str(error)


class SameAnswers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory(prefix="orf-")
        self.path = Path(self.directory.name) / "state.db"
        self.memory: Store = MemoryStore(HISTORY)
        self.sqlite: Store = self.run(SqliteStore.open(self.path, HISTORY))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def same(self, ask: Callable[[Store], Awaitable[Any]]) -> None:
        expected = self.run(answer(self.memory, ask))
        assert self.run(answer(self.sqlite, ask)) == expected

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: bytes) -> None:
        self.same(lambda store: store.put(key, value))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.same(lambda store: store.delete(key))

    @rule(
        compares=st.lists(st.one_of(INTEGER_COMPARES, VALUE_COMPARES), max_size=3),
        success=OPERATIONS,
        failure=OPERATIONS,
    )
    def transact(self, compares: list[Compare], success: list[Operation], failure: list[Operation]) -> None:
        self.same(lambda store: store.transact(compares, success, failure))

    @rule(revision=REVISIONS)
    def compact(self, revision: int) -> None:
        self.same(lambda store: store.compact(revision))

    @rule(prefix=PREFIXES, start=REVISIONS)
    def watch(self, prefix: str, start: int) -> None:
        expected = self.run(answer(self.memory, lambda store: available(store, prefix, start, 0)))
        patience = len(expected) if isinstance(expected, list) else 1
        found = self.run(answer(self.sqlite, lambda store: available(store, prefix, start, patience)))
        assert found == expected

    @rule()
    def reopen(self) -> None:
        self.run(self.sqlite.close())
        self.sqlite = self.run(SqliteStore.open(self.path, HISTORY))

    @invariant()
    def listings_agree(self) -> None:
        for prefix in ("", "/a", "/a/"):
            self.same(lambda store, prefix=prefix: store.range(prefix))  # type: ignore[misc]
        self.same(lambda store: store.get("/a/1"))

    def teardown(self) -> None:
        self.run(self.sqlite.close())
        self.run(self.memory.close())
        self.runner.close()
        self.directory.cleanup()


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
