"""The tables of SQLite have the names of PostgreSQL's, whether a file is new or was converted."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.backend.store.statements import load
from tests.backend.store.old_stores.databases import expected
from tests.backend.store.test_conversion import sqlite_file
from tests.clock import ManualClock

TABLES = files("roost.backend.store") / "postgres" / "tables" / "0007.sql"


def read(path: Path, query: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def shape(path: Path) -> list[tuple[Any, ...]]:
    """All tables and indexes, as they were written, and the version."""
    rows = read(path, "SELECT name, sql FROM sqlite_master") + read(path, "PRAGMA user_version")
    return sorted(tuple(" ".join(str(value).split()) for value in row) for row in rows)


def test_tables_columns_and_indexes_have_the_names_of_postgresql(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    db = sqlite3.connect(path)
    db.executescript(load("sqlite/statements.sql")["schema"])
    db.close()
    text = TABLES.read_text(encoding="utf-8")
    for table in ("jobs", "requests", "results", "gateways"):
        body = text.split(f"CREATE TABLE {table} (\n")[1].split("\n)")[0]
        columns = [line.split()[0] for line in body.splitlines() if line[2].islower()]
        found = [name for (name,) in read(path, f"SELECT name FROM pragma_table_info('{table}')")]
        assert found == [name for name in columns if name != "is_open"]
    made = {name for (name,) in read(path, "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")}
    assert made == {rest.split()[0] for rest in text.replace("UNIQUE INDEX", "INDEX").split("CREATE INDEX ")[1:]}


@pytest.mark.parametrize("version", [1, 2])
async def test_a_converted_file_has_the_tables_and_indexes_of_a_new_one(tmp_path: Path, version: int) -> None:
    converted, new = Path(sqlite_file(tmp_path, version)), tmp_path / "new.db"
    before = [read(converted, f"SELECT count(*) FROM {name}") for name in ("jobs", "waiters", "results", "gateways")]
    tokens = read(converted, "SELECT last_token FROM clock")
    clock = ManualClock(wall_s=expected("sqlite")["wall_s"])
    for path in (converted, new, converted):
        store = SqliteStore(str(path), clock=clock)
        await store.start()
        await store.stop()
    assert shape(converted) == shape(new)
    assert read(converted, "SELECT last_token FROM clock") == tokens
    assert read(converted, "PRAGMA foreign_key_check") == []
    after = [read(converted, f"SELECT count(*) FROM {name}") for name in ("jobs", "requests", "results", "gateways")]
    assert after == before
