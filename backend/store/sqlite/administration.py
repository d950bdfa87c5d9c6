"""Administration of a store in a SQLite file (`roost.backend.store.administration`)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from roost.backend.store.administration import WATCHED_S, Backup, Findings, Stats, check_unused
from roost.backend.store.port import StoreLimits
from roost.backend.store.sqlite import restoration
from roost.backend.store.sqlite.inspection import inspect
from roost.backend.store.sqlite.schema import VERSION, prepare
from roost.backend.store.sqlite.statistics import Statistics
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.errors import Misuse, Unavailable

BUSY_TIMEOUT_S = 10.0
"""Lock servers hold the file for milliseconds."""

T = TypeVar("T")


class SqliteAdministration:
    """`Administration` of the store in the file `path`."""

    def __init__(self, path: str, limits: StoreLimits, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path, self._limits, self._clock = path, limits, clock

    async def expectation(self) -> list[str]:
        return []  # files are small: some seconds for a gigabyte

    async def migrate(self, grant_to: str = "") -> list[str]:
        if grant_to:
            raise Misuse("a file has no roles: --grant is for PostgreSQL")
        before = await self._run(lambda db: prepare(db, self._path, self._limits.retention_s), mode="rwc")
        if before == VERSION:
            return [f"Nothing to do: {self._path} has the tables of this version (schema {VERSION})."]
        if before == 0:
            return [f"The tables of this version (schema {VERSION}) were made in {self._path}."]
        return [
            f"{self._path} was converted from schema {before}, of 0.1, to schema {VERSION}. A lock server that opens a "
            "file does the same."
        ]

    async def check(self) -> Findings:
        wall, retention_s = self._clock.wall(), self._limits.retention_s
        return await self._run(lambda db: inspect(db, self._path, wall, retention_s))

    async def stats(self) -> Stats:
        return await self._run(lambda db: Statistics(db, self._path, self._clock).stats())

    async def look_back(self) -> Backup:
        first = await self._look_back()
        await self._clock.sleep(WATCHED_S)
        backup = await self._look_back()
        check_unused(first, backup)
        return backup

    async def _look_back(self) -> Backup:
        wall = self._clock.wall()
        return await self._run(lambda db: restoration.look_back(db, wall))

    async def go_on(self, backup: Backup) -> list[str]:
        return await self._run(lambda db: restoration.go_on(db, backup), mode="rw")

    async def _run(self, work: Callable[[sqlite3.Connection], T], mode: str = "ro") -> T:
        """Call `work` with the opened file, in a thread. `mode` is SQLite's: ro, rw, or rwc to create the file."""
        return await asyncio.to_thread(self._open_and_run, work, mode)

    def _open_and_run(self, work: Callable[[sqlite3.Connection], T], mode: str) -> T:
        path = Path(self._path)
        if mode != "rwc" and not path.is_file():
            raise Misuse(f"there is no file {self._path}")
        try:
            uri = f"{path.resolve().as_uri()}?mode={mode}"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)) as db:
                if mode != "ro":
                    db.execute("PRAGMA journal_mode = WAL")
                    db.execute("PRAGMA synchronous = FULL")
                return work(db)
        except sqlite3.Error as problem:
            raise Unavailable("store", f"{self._path}: {problem}") from problem
