"""The rights of lock servers whose user is not the owner of the database: to read and write rows, to call functions.

With them a lock server works as long as tables and functions are of its version; it can create, change or drop nothing.
"""

from __future__ import annotations

from typing import Any

from roost.backend.store.postgres.schema import SCHEMA, grant_functions
from roost.wire.errors import Misuse

TABLES = {
    "SELECT, INSERT, UPDATE, DELETE": ("jobs", "requests", "results", "gateways"),
    "SELECT, UPDATE": ("clock", "function_sets"),
    "SELECT": ("migrations",),
}
SEQUENCES = ("job_ids", "tokens")


async def grant(connection: Any, role: str) -> list[str]:
    """Give a role what lock servers need, for all versions whose functions are there; return what was done.

    Functions that are made later get the same (`schema.migrate`). Raises Misuse when there is no such role.
    """
    async with connection.transaction():
        quoted = await connection.fetchval("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = $1", role)
        if quoted is None:
            raise Misuse(f"there is no role {role!r}: create it first, CREATE ROLE … LOGIN PASSWORD '…'")
        await connection.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {quoted}")
        for rights, tables in TABLES.items():
            await connection.execute(f"GRANT {rights} ON {_names(tables)} TO {quoted}")
        await connection.execute(f"GRANT USAGE ON SEQUENCE {_names(SEQUENCES)} TO {quoted}")
        sets = await connection.fetch(f"SELECT name FROM {SCHEMA}.function_sets ORDER BY created_at")  # noqa: S608
        for row in sets:
            await grant_functions(connection, row["name"], quoted)
    return [f"The role {quoted} may do what lock servers do, and nothing else."]


def _names(of: tuple[str, ...]) -> str:
    return ", ".join(f"{SCHEMA}.{name}" for name in of)
