"""Databases and stores of PostgreSQL for the tests that need one of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from bench.support import services
from roost.backend.store.port import StoreLimits
from roost.backend.store.postgres.postgres_store import PostgresStore
from tests.backend.store.database import NewStore


@pytest.fixture
def server() -> Iterator[services.Postgres]:
    server = services.postgres()
    yield server
    if not server.is_running():  # a test failed half-way: the next ones need it
        server.start()


@pytest.fixture
def url(server: services.Postgres) -> str:
    """Of an empty database."""
    return server.url(server.database())


@pytest.fixture
async def new_store() -> AsyncIterator[NewStore]:
    """Makes stores, and stops them all, whatever becomes of the test."""
    made: list[PostgresStore] = []

    def make(url: str, limits: StoreLimits | None = None) -> PostgresStore:
        made.append(PostgresStore(url, limits))
        return made[-1]

    yield make
    for store in made:
        await store.stop()
