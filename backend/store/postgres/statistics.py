"""What a store in PostgreSQL holds, counted in bounded time.

A table whose rows cannot be counted within the limit is estimated from a random sample of its pages.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from roost.backend.store.administration import Count, Counted, Stats
from roost.backend.store.postgres.schema import is_current
from roost.backend.store.statements import load
from roost.wire.errors import Misuse

COUNT_S = 5.0
"""Timeout (seconds) for counting one table: enough for some million rows."""
SAMPLE_S = 30.0
SAMPLE_PAGES = 2_000
"""About 16 MB; groups with 1 % of the rows are then right to about a tenth."""


class Statistics:
    """Counts what is stored. Counting one table exactly may take `count_s` seconds."""

    def __init__(self, connection: Any, count_s: float = COUNT_S) -> None:
        self._connection, self._count_s = connection, count_s
        self._sql = load("postgres/administration.sql")

    async def stats(self) -> Stats:
        """Return all figures. Raises Misuse when the store is of another version."""
        async with self._connection.transaction(readonly=True):
            if not await is_current(self._connection):
                raise Misuse("the store is not of this version: run `roost store migrate` first")
            (clock,) = await self._connection.fetch(self._sql["clock"])
            jobs, jobs_counted = await self._count("jobs", "jobs")
            requests, requests_counted = await self._count("requests", "requests")
            parts, parts_counted = await self._count("parts", "results")
            (waiting,) = await self._connection.fetch(self._sql["waiting_since"])
            oldest = await self._connection.fetchrow(self._sql["oldest_outcome"])
            sizes = {row["name"]: row["bytes"] for row in await self._connection.fetch(self._sql["sizes"])}
        return Stats(
            now=clock["now"],
            jobs=[Count(**row) for row in jobs],
            jobs_counted=jobs_counted,
            requests=[Count(**row) for row in requests],
            requests_counted=requests_counted,
            waiting_since=waiting["since"],
            **(parts[0] if parts else {"parts": 0, "part_bytes": 0}),
            parts_counted=parts_counted,
            oldest_outcome=oldest and oldest["oldest_outcome"],
            oldest_outcome_kept_until=oldest and oldest["oldest_outcome_kept_until"],
            sizes=sizes,
        )

    async def _count(self, name: str, table: str) -> tuple[list[dict[str, Any]], Counted]:
        """Run a named statement that counts rows of a table, exactly if that does not take too long."""
        rows = await self._within(self._count_s, self._sql[name].replace("$SAMPLE", ""))
        if rows is not None:
            return rows, Counted.EXACTLY
        pages = await self._connection.fetchval(self._sql["pages"], table)
        percent = min(100.0, 100.0 * SAMPLE_PAGES / max(1, pages))
        rows = await self._within(SAMPLE_S, self._sql[name].replace("$SAMPLE", f"TABLESAMPLE SYSTEM ({percent})"))
        if rows is None:
            return [], Counted.NOT
        return [{key: _scaled(value, percent) for key, value in row.items()} for row in rows], Counted.FROM_A_SAMPLE

    async def _within(self, seconds: float, query: str) -> list[dict[str, Any]] | None:
        """Return the rows, or None when that takes longer than `seconds`."""
        try:
            async with self._connection.transaction():
                await self._connection.execute(f"SET LOCAL statement_timeout = '{seconds * 1000:.0f}ms'")
                rows = [dict(row) for row in await self._connection.fetch(query)]
                await self._connection.execute("SET LOCAL statement_timeout = 0")
                return rows
        except asyncpg.QueryCanceledError:
            return None


def _scaled(value: Any, percent: float) -> Any:
    return round(value * 100 / percent) if isinstance(value, int) else value
