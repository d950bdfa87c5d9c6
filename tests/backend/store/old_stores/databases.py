"""Databases with what 0.1.1 stored, and what it said about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncpg

from bench.support import services
from roost.backend.store.port import StoreLimits
from roost.backend.store.postgres.schema import migrate, search_path
from tests.backend.store.old_stores.make import client

FOLDER = Path(__file__).parent


def expected(engine: str) -> dict[str, Any]:
    """What 0.1.1 said, and when."""
    found: dict[str, Any] = json.loads((FOLDER / "0.1.1.json").read_text())[engine]
    return found


def asked(old: dict[str, Any]) -> list[tuple[bytes, str]]:
    """All requests of an old store."""
    return [(client(name), request) for name, _, request in (key.rpartition("/") for key in old["told"])]


def old_database(server: services.Postgres, statement: str = "") -> str:
    """The name of a new database that 0.1 used."""
    name = server.database()
    server.sql(name, (FOLDER / "0.1.1.postgresql.sql").read_text() + statement)
    return name


async def converted(url: str, wall_s: float) -> list[str]:
    """Convert the database; from now on its time stands still."""
    connection = await asyncpg.connect(url, server_settings={"search_path": search_path()})
    done = await migrate(connection, StoreLimits().retention_s)
    await connection.execute(
        "CREATE OR REPLACE FUNCTION server_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
        f"'SELECT to_timestamp({wall_s!r})'"
    )
    await connection.close()
    return done
