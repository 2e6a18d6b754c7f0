"""A state file that cannot be used is refused in one sentence, and left as it was."""

import os
import sqlite3
from pathlib import Path

import pytest

from outrider.store.contract import StoreError
from outrider.store.schema import SCHEMA_VERSION
from outrider.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio


async def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        await SqliteStore.open(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def filled(path: Path) -> None:
    store = await SqliteStore.open(path)
    for number in range(200):
        await store.put(f"/k{number}", b"v" * 200)
    await store.close()


async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    await filled(tmp_path / "state.db")
    store = await SqliteStore.open(tmp_path / "state.db")
    listing = await store.range("/k")
    assert (len(listing.records), listing.revision) == (200, 201)
    await store.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database at all, but long enough to look" * 30)
    before = path.read_bytes()
    assert "not a database" in await refusal(path)
    assert path.read_bytes() == before


async def test_a_file_with_damaged_pages(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await filled(path)
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = os.urandom(len(content) - 4096 * 2)
    path.write_bytes(content)
    message = await refusal(path)
    assert "damaged" in message or "malformed" in message


async def test_a_file_of_a_newer_outrider(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    assert f"newer Outrider (schema {SCHEMA_VERSION + 1}" in await refusal(path)


async def test_another_programs_database(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    assert "another program's" in await refusal(path)


async def test_a_second_controller_on_the_same_file(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    assert "in use by another controller" in await refusal(tmp_path / "state.db")
    await store.close()
    await (await SqliteStore.open(tmp_path / "state.db")).close()


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in await refusal(tmp_path / "nowhere" / "state.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root to meet a read-only file")
async def test_a_file_that_may_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await filled(path)
    for directory in [tmp_path, *tmp_path.parents[:3]]:
        directory.chmod(directory.stat().st_mode | 0o055)
    path.chmod(0o444)
    path.with_name("state.db.lock").chmod(0o666)
    os.seteuid(65534)
    try:
        message = await refusal(path)
    finally:
        os.seteuid(0)
    assert "readonly" in message or "unable to open" in message


async def test_a_full_disk_fails_one_write_and_not_the_next(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    await store.put("/small", b"x")
    store._connection.execute("PRAGMA max_page_count=20")  # SQLite then answers as it does on a full disk
    with pytest.raises(StoreError, match="full"):
        await store.put("/large", b"x" * 4096 * 100)
    store._connection.execute("PRAGMA max_page_count=100000")
    assert await store.get("/large") is None
    assert await store.put("/large", b"x" * 4096 * 100) == 3
    await store.close()
