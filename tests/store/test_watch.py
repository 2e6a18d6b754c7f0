"""A watch leaves nothing out, and says so when it would have to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outrider.store.contract import (
    Batch,
    CompactedError,
    Put,
    Store,
    StoreError,
    absent,
    check_operations,
    unchanged_since,
)
from outrider.store.memory import MemoryStore
from outrider.store.sqlite import WATCH_CHUNK, SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = (
        MemoryStore(1000) if request.param == "memory" else await SqliteStore.open(tmp_path / "state.db", 1000)
    )
    yield made
    await made.close()


async def take(watch: AsyncIterator[Batch], count: int) -> list[Batch]:
    async with asyncio.timeout(10):
        return [await anext(watch) for _ in range(count)]


async def test_a_new_store_is_at_revision_one(store: Store) -> None:
    assert (await store.range("")).revision == 1


async def test_a_waiting_watch_sees_what_is_written_later(store: Store) -> None:
    watch = store.watch("/a", 1)
    first = asyncio.ensure_future(take(watch, 1))
    await asyncio.sleep(0)
    await store.put("/b", b"other")
    await store.put("/a/1", b"x")
    assert [(change.key, change.record.value) for change in (await first)[0].changes if change.record] == [
        ("/a/1", b"x")
    ]


async def test_a_transaction_arrives_in_one_piece(store: Store) -> None:
    await store.transact((absent("/a"),), [Put(f"/{number}", b"") for number in range(10)])
    (batch,) = await take(store.watch("", 1), 1)
    assert (batch.revision, len(batch.changes)) == (2, 10)


async def test_a_writer_racing_a_watcher_loses_nothing(store: Store) -> None:
    total = WATCH_CHUNK + 50

    async def write() -> None:
        for number in range(total):
            await store.put("/n", str(number).encode())

    batches, _ = await asyncio.gather(take(store.watch("/n", 1), total), write())
    values = [int(batch.changes[0].record.value) for batch in batches if batch.changes[0].record]
    assert values == list(range(total))


async def test_of_two_writers_who_saw_the_same_one_wins(store: Store) -> None:
    revision = await store.put("/k", b"0")
    outcomes = await asyncio.gather(
        *(store.transact((unchanged_since("/k", revision),), (Put("/k", b"%d" % each),)) for each in range(8))
    )
    assert sum(outcome.succeeded for outcome in outcomes) == 1


async def test_a_watcher_left_behind_is_told_to_list_again(store: Store) -> None:
    watch = store.watch("/n", 1)
    for number in range(5):
        await store.put("/n", b"%d" % number)
    await take(watch, 1)
    await store.compact(6)
    with pytest.raises(CompactedError):
        await take(store.watch("/n", 2), 1)
    assert [batch.revision for batch in await take(store.watch("/n", 6), 1)] == [6]


async def test_history_is_bounded(tmp_path: Path) -> None:
    for store in (MemoryStore(10), await SqliteStore.open(tmp_path / "state.db", 10)):
        for number in range(30):
            await store.put("/n", b"%d" % number)
        with pytest.raises(CompactedError):
            await take(store.watch("/n", 20), 1)
        assert len(await take(store.watch("/n", 21), 11)) == 11
        await store.close()


async def test_closing_ends_the_watches(store: Store) -> None:
    watch = store.watch("/n", 1)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.05)
    await store.close()
    with pytest.raises((StopAsyncIteration, StoreError)):
        async with asyncio.timeout(5):
            await waiting
    with pytest.raises(StoreError, match="closed"):
        await store.get("/n")


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([Put("/a", b""), Put("/a", b"")], "written twice"),
        ([Put("/a b", b"")], "is not a key"),
        ([Put("", b"")], "is not a key"),
        ([Put("/ä", b"")], "is not a key"),
        ([Put(f"/{number}", b"") for number in range(5000)], "at most"),
    ],
)
def test_a_transaction_no_store_could_do_is_refused(operations: list[Put], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_operations(operations)
