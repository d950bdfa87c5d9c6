"""What a store in a SQLite file holds, counted in bounded time."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from roost.backend.store.administration import Count, Counted, Stats
from roost.backend.store.sqlite.schema import VERSION, read_version
from roost.backend.store.statements import load
from roost.wire.clock import Clock
from roost.wire.errors import Misuse

COUNT_S = 5.0
"""Timeout (seconds) for counting one table: enough for some million rows."""
STEPS = 10_000
"""So many instructions of SQLite's machine run between two looks at the clock: about a millisecond."""


class Statistics:
    """Counts what is stored. Counting one table may take `count_s` seconds; else it is not counted."""

    def __init__(self, db: sqlite3.Connection, path: str, clock: Clock, count_s: float = COUNT_S) -> None:
        self._db, self._path, self._clock, self._count_s = db, path, clock, count_s
        self._sql = load("sqlite/administration.sql")
        db.row_factory = sqlite3.Row

    def stats(self) -> Stats:
        """Return all figures. Raises Misuse when the store is of another version."""
        if read_version(self._db) != VERSION:
            raise Misuse("the store is not of this version: run `roost store migrate` first")
        clock = self._db.execute(self._sql["clock"], {"wall": self._clock.wall()}).fetchone()
        jobs, jobs_counted = self._count("jobs")
        requests, requests_counted = self._count("requests")
        parts, parts_counted = self._count("parts")
        oldest = self._db.execute(self._sql["oldest_outcome"]).fetchone()
        return Stats(
            now=clock["now"],
            jobs=[Count(**row) for row in jobs],
            jobs_counted=jobs_counted,
            requests=[Count(**row) for row in requests],
            requests_counted=requests_counted,
            waiting_since=self._db.execute(self._sql["waiting_since"]).fetchone()["since"],
            **(parts[0] if parts else {"parts": 0, "part_bytes": 0}),
            parts_counted=parts_counted,
            oldest_outcome=oldest and oldest["oldest_outcome"],
            oldest_outcome_kept_until=oldest and oldest["oldest_outcome_kept_until"],
            sizes={
                path.name: path.stat().st_size
                for path in (Path(self._path), Path(f"{self._path}-wal"))
                if path.exists()
            },
        )

    def _count(self, name: str) -> tuple[list[dict[str, Any]], Counted]:
        deadline = self._clock.monotonic() + self._count_s
        self._db.set_progress_handler(lambda: self._clock.monotonic() > deadline, STEPS)
        try:
            return [dict(row) for row in self._db.execute(self._sql[name])], Counted.EXACTLY
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return [], Counted.NOT
        finally:
            self._db.set_progress_handler(None, 0)
