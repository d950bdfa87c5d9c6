"""Migrations: numbered files (``0001.sql`` …) create and change the tables and functions, each in one transaction.

All objects are in the schema ``roost``. Lock servers that start at the same time wait for one another. A released file
is never changed.
"""

from __future__ import annotations

import logging
import re
from importlib.resources import files
from typing import Any

from roost.wire.errors import Misuse

log = logging.getLogger(__name__)

SCHEMA = "roost"
LOCK = 0x726F6F7374
"""Key of the advisory lock that migrations take."""
MIGRATE_S = 300
"""Timeout (seconds) for a migration of large tables, or for waiting until another server has migrated."""
_FILE = re.compile(r"^(\d{4})\.sql$")


def migrations() -> dict[int, str]:
    """Return the migration files by number."""
    folder = files(__package__)
    found = {match[1]: file for file in folder.iterdir() if (match := _FILE.match(file.name))}
    return {int(number): found[number].read_text(encoding="utf-8") for number in sorted(found)}


async def migrate(connection: Any) -> None:
    """Apply the missing migrations. Raises Misuse when the database is newer, and errors of the driver."""
    known = migrations()
    while True:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = '{MIGRATE_S}s'; SET LOCAL lock_timeout = 0")
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            version = await _version(connection)
            if version > max(known):
                raise Misuse(
                    f"the database was used by a newer Roost (schema {version}, this one knows {max(known)}): "
                    "use that version, or another database"
                )
            if version == max(known):
                return
            await _apply(connection, version + 1, known[version + 1])


async def _version(connection: Any) -> int:
    if await connection.fetchval("SELECT to_regclass($1)", f"{SCHEMA}.migrations") is None:
        return 0
    return int(await connection.fetchval(f"SELECT coalesce(max(number), 0) FROM {SCHEMA}.migrations"))  # noqa: S608


async def _apply(connection: Any, number: int, text: str) -> None:
    if number == 1:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        await connection.execute(
            f"CREATE TABLE {SCHEMA}.migrations (number integer PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
    await connection.execute(text)
    await connection.execute(f"INSERT INTO {SCHEMA}.migrations (number) VALUES ($1)", number)  # noqa: S608
    log.info("schema migrated", extra={"action": "schema_migrated", "number": number})
