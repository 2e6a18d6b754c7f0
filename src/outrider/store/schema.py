"""The SQLite store's tables, and whether a file may be taken for a store at all.

A file says whose it is by SQLite's ``application_id`` and which schema it has by ``user_version``
(https://www.sqlite.org/fileformat2.html, offsets 68 and 60). Neither another program's file nor one written by a
newer Outrider is touched.
"""

import sqlite3
from pathlib import Path

from outrider.store.contract import FIRST_REVISION, StoreError

APPLICATION_ID = 0x4F555452  # "OUTR"
SCHEMA_VERSION = 1

_TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    # Column order is that of the contract's Record.
    "CREATE TABLE record (key TEXT PRIMARY KEY, value BLOB NOT NULL, create_revision INTEGER NOT NULL,"
    " mod_revision INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID",
    # One row for each key changed at a revision, in the order of the transaction; value NULL is a deletion.
    "CREATE TABLE change (revision INTEGER, number INTEGER, key TEXT NOT NULL, value BLOB,"
    " create_revision INTEGER, version INTEGER, PRIMARY KEY (revision, number)) WITHOUT ROWID",
)


def prepare_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Make or check the tables and set the connection up. Raises ``StoreError`` when the file is not to be used."""
    owner, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0 and owner == 0
    if not is_new:
        _check_owner(path, owner, version)
        _check_whole(path, connection)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")
    if is_new:
        _create(connection)
    # Written at every start, so that a file that cannot be written is found out now and not at the first change.
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'opened'")
    connection.execute("COMMIT")


def _check_owner(path: Path, owner: int, version: int) -> None:
    if owner != APPLICATION_ID:
        raise StoreError(f"{path} is another program's database")
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path} was written by a newer Outrider (schema {version}; this one knows {SCHEMA_VERSION})")


def _check_whole(path: Path, connection: sqlite3.Connection) -> None:
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if found != "ok":
        raise StoreError(f"{path} is damaged: {' '.join(str(found).split())}")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    for statement in _TABLES:
        connection.execute(statement)
    rows = [("revision", FIRST_REVISION), ("compacted", 0), ("opened", 0)]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
