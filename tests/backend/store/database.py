"""A database for the tests that run over every store engine, whose time moves with a `ManualClock`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import asyncpg

from bench.support import services
from roost.backend.store.port import StoreLimits
from roost.backend.store.postgres.postgres_store import PostgresStore
from roost.backend.store.postgres.schema import migrate, search_path
from tests.clock import ManualClock

EMPTY = """
CREATE TABLE IF NOT EXISTS test_clock (now timestamptz);
CREATE OR REPLACE FUNCTION server_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT now FROM test_clock';
TRUNCATE jobs, requests, results, gateways, clock, test_clock;
INSERT INTO clock DEFAULT VALUES;
"""


NewStore = Callable[..., PostgresStore]
"""Makes a store for a URL, and limits where they matter; all are stopped after the test (the fixture `new_store`)."""


def clients(count: int) -> list[bytes]:
    """So many."""
    return [number.to_bytes(16, "big") for number in range(1, count + 1)]


@cache
def shared_url() -> str:
    """Of the database that each test finds empty."""
    server = services.postgres()
    return server.url(server.database())


class DatabaseClock(ManualClock):
    """The time of the database at `shared_url`: the server-side functions ask it, not the server."""

    async def start(self) -> None:
        """Make the tables, if there are none, and empty them."""
        self._database = await asyncpg.connect(shared_url(), server_settings={"search_path": search_path()})
        try:
            await migrate(self._database, StoreLimits().retention_s)
            await self.empty()
        except BaseException:
            await self.stop()
            raise

    async def empty(self) -> None:
        """Nothing is stored, and the time is this clock's."""
        await self._database.execute(EMPTY)
        await self._database.execute("INSERT INTO test_clock VALUES (to_timestamp($1))", self.wall())

    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        await self._database.execute("UPDATE test_clock SET now = to_timestamp($1)", self.wall())

    async def stop(self) -> None:
        await self._database.close()
