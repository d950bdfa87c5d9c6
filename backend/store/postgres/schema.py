"""The schema of the PostgreSQL store: tables in numbered files, and sets of functions that stand side by side.

``tables/0007.sql`` … change the tables, each in one transaction. The first line of each says from which number on a
program can work with the tables that it leaves, so that a version and the one before run at the same time (expand,
move, contract: ``docs/design/store.md``). The functions in ``functions/*.sql`` hold the rules. They are created as a
set, in a schema that is named after the digest of their text, and a lock server calls those of its own version only.
So changing a function never concerns a running server.

A lock server needs no right to create anything while both are there already.
"""

from __future__ import annotations

import hashlib
import logging
import re
from functools import cache
from importlib.resources import files
from typing import Any

import asyncpg

from roost.wire.errors import Misuse

log = logging.getLogger(__name__)

SCHEMA = "roost"
OLD_SCHEMA = "roost_0_1"
LOCK = 0x726F6F7374
"""Key of the advisory lock that migrations take."""
MIGRATE_S = 300
"""Timeout (seconds) for a migration of large tables, or for waiting until another server has migrated."""
UNUSED_DAYS = 7
"""`drop_unused` drops functions that no lock server has used for this long: its version can no longer be running."""
CONVERTIBLE = (5, 6)
"""The last migrations of 0.1, whose numbers ended with 6."""
_FILE = re.compile(r"^(\d{4})\.sql$")
_USABLE_FROM = re.compile(r"^-- usable from: (\d+)$", re.MULTILINE)
_COLUMNS_OF_MIGRATIONS = """SELECT attname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'migrations' AND attnum > 0"""
_TYPES = """SELECT quote_ident(typname) AS name FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND c.relkind = 'c'"""
_BOOKS = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE {SCHEMA}.migrations (
  number integer PRIMARY KEY, usable_from integer NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE {SCHEMA}.migrations IS 'What changed the tables. Programs that know usable_from can work with them.';
CREATE TABLE {SCHEMA}.function_sets (
  name text PRIMARY KEY, tables integer NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
  used_at timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE {SCHEMA}.function_sets IS 'Schemas with functions of one version, and when they were used last.';
"""


@cache
def tables() -> dict[int, str]:
    """Return the files that change the tables, by number."""
    found = {match[1]: file for file in _folder("tables").iterdir() if (match := _FILE.match(file.name))}
    return {int(number): found[number].read_text(encoding="utf-8") for number in sorted(found)}


@cache
def functions() -> str:
    """Return the text of all functions, in the order of their files."""
    found = sorted(_folder("functions").iterdir(), key=lambda file: file.name)
    return "\n".join(file.read_text(encoding="utf-8") for file in found if file.name.endswith(".sql"))


@cache
def function_schema() -> str:
    """Return the name of the schema with this version's functions: its digest, so that no two versions share one."""
    return f"{SCHEMA}_{hashlib.sha256(functions().encode()).hexdigest()[:12]}"


def search_path() -> str:
    """Return the search path of a connection: this version's functions, then the tables."""
    return f"{function_schema()}, {SCHEMA}"


def newest() -> int:
    """Return the number of the newest tables that this version knows."""
    return max(tables())


# --- opening and migrating -------------------------------------------------------------------------


async def prepare(connection: Any, retention_s: float) -> None:
    """Migrate if something is missing; otherwise only read.

    Raises Misuse when the tables are too new or too old, or when something must be created or granted and the user may
    not do that.
    """
    try:
        if await is_current(connection):
            await _check_may_use(connection)
        else:
            await migrate(connection, retention_s)
    except asyncpg.InsufficientPrivilegeError as problem:
        user = await connection.fetchval("SELECT quote_ident(current_user)")
        raise Misuse(
            f"the database is not ready for this version, and the user {user} may not change that ({problem}): run "
            f"`roost store migrate --grant {user}` as the owner of the database"
        ) from problem


async def is_current(connection: Any) -> bool:
    """Return whether the tables can be used and the functions are there. Raises Misuse when the database is newer."""
    number, usable_from = await version(connection)
    _check_not_newer(number, usable_from)
    return number >= newest() and await exists(connection, function_schema())


async def _check_may_use(connection: Any) -> None:
    # a schema that the user may not use is left out of the search path in silence
    if not await connection.fetchval("SELECT has_schema_privilege($1, 'USAGE')", function_schema()):
        raise asyncpg.InsufficientPrivilegeError(f"permission denied for schema {function_schema()}")


async def version(connection: Any) -> tuple[int, int]:
    """Return the number of the tables, and the oldest number that a program must know; 0 when there are none."""
    columns = [row["name"] for row in await connection.fetch(_COLUMNS_OF_MIGRATIONS, SCHEMA)]
    if not columns:
        return 0, 0
    usable_from = "max(usable_from)" if "usable_from" in columns else "max(number)"  # 0.1 had no such column
    row = await connection.fetchrow(
        f"SELECT coalesce(max(number), 0) AS number, coalesce({usable_from}, 0) AS usable_from FROM {SCHEMA}.migrations"  # noqa: S608
    )
    return int(row["number"]), int(row["usable_from"])


async def migrate(connection: Any, retention_s: float, timeout_s: int = MIGRATE_S) -> list[str]:
    """Bring tables and functions to this version, and return what was done, in sentences.

    `retention_s` is how long outcomes of a store of 0.1 are kept, which did not store that. No statement may take
    longer than `timeout_s`; 0 is no limit. Raises Misuse when the database is newer or too old, and errors of the
    driver.
    """
    done = []
    async with connection.transaction():
        await connection.execute(f"SET LOCAL statement_timeout = '{timeout_s}s'; SET LOCAL lock_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        number, usable_from = await version(connection)
        _check_not_newer(number, usable_from)
        if 0 < number < min(tables()):
            done += await _convert(connection, number, retention_s)
            number, _ = await version(connection)
        if number == 0:
            await connection.execute(_BOOKS)
        for missing in sorted(each for each in tables() if each > number):
            await _change_tables(connection, missing)
            done.append(f"The tables were brought to number {missing}.")
        if await _create_functions(connection):
            done.append(f"The functions of this version were created in the schema {function_schema()}.")
    return done


def _check_not_newer(number: int, usable_from: int) -> None:
    if usable_from > newest():
        raise Misuse(
            f"the database was used by a newer Roost (tables {number}, this one knows {newest()}): "
            "use that version, or another database"
        )


async def _change_tables(connection: Any, number: int) -> None:
    text = tables()[number]
    (usable_from,) = _USABLE_FROM.findall(text)
    await connection.execute(f"SET LOCAL search_path = {SCHEMA}")
    await connection.execute(text)
    await connection.execute(
        f"INSERT INTO {SCHEMA}.migrations (number, usable_from) VALUES ($1, $2)",  # noqa: S608
        number,
        int(usable_from),
    )
    log.info("tables migrated", extra={"action": "tables_migrated", "number": number})


async def _convert(connection: Any, number: int, retention_s: float) -> list[str]:
    """Copy a store of 0.1 into the tables of 0.2."""
    if number not in CONVERTIBLE:
        raise Misuse(
            f"the database is that of an early 0.1 (schema {number}): start the last 0.1 on it once, then this"
        )
    await connection.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO {OLD_SCHEMA}")
    await connection.execute(_BOOKS)
    await _change_tables(connection, min(tables()))
    text = (_folder("tables") / "from_0_1.sql").read_text(encoding="utf-8")
    await connection.execute(text.replace("$RETENTION", repr(float(retention_s))))
    jobs = await connection.fetchval(f"SELECT count(*) FROM {SCHEMA}.jobs")  # noqa: S608
    log.info("store of 0.1 converted", extra={"action": "store_converted", "jobs": jobs})
    return [f"A store of 0.1 was converted, with {jobs} jobs."]


async def _create_functions(connection: Any) -> bool:
    name = function_schema()
    if await exists(connection, name):
        return False
    await connection.execute(f"CREATE SCHEMA {name}; SET LOCAL search_path = {name}, {SCHEMA}")
    await connection.execute(functions())
    await connection.execute(
        f"INSERT INTO {SCHEMA}.function_sets (name, tables) VALUES ($1, $2) "  # noqa: S608
        "ON CONFLICT (name) DO UPDATE SET created_at = now(), used_at = now()",  # somebody dropped the schema
        name,
        newest(),
    )
    await _grant_as_on_tables(connection, name)
    log.info("functions created", extra={"action": "functions_created", "schema": name})
    return True


async def _grant_as_on_tables(connection: Any, name: str) -> None:
    """Let whoever may use the tables use the functions: rights on the schema `roost` are copied."""
    grantees = await connection.fetch(
        "SELECT DISTINCT grantee::regrole::text AS name FROM pg_namespace n, aclexplode(n.nspacl) "
        "WHERE n.nspname = $1 AND privilege_type = 'USAGE' AND grantee <> n.nspowner AND grantee <> 0",
        SCHEMA,
    )
    for grantee in grantees:
        await grant_functions(connection, name, grantee["name"])


async def grant_functions(connection: Any, name: str, role: str) -> None:
    """Let a role (a quoted name) call the functions in the schema `name`.

    Functions and types are everybody's by default, but a database may have other defaults.
    """
    await connection.execute(
        f"GRANT USAGE ON SCHEMA {name} TO {role}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {name} TO {role}"
    )
    for row in await connection.fetch(_TYPES, name):
        await connection.execute(f"GRANT USAGE ON TYPE {name}.{row['name']} TO {role}")


async def drop_unused(connection: Any) -> list[str]:
    """Drop functions of other versions that nobody has used for `UNUSED_DAYS`; return what was done, in sentences."""
    unused = await connection.fetch(
        f"SELECT name FROM {SCHEMA}.function_sets WHERE name <> $1 AND used_at < now() - make_interval(days => $2)",  # noqa: S608
        function_schema(),
        UNUSED_DAYS,
    )
    for row in unused:
        async with connection.transaction():
            await connection.execute(f"DROP SCHEMA IF EXISTS {row['name']} CASCADE")
            await connection.execute(f"DELETE FROM {SCHEMA}.function_sets WHERE name = $1", row["name"])  # noqa: S608
    return [f"The unused functions in the schema {row['name']} were dropped." for row in unused]


async def exists(connection: Any, schema: str) -> bool:
    """Return whether there is such a schema."""
    # a query and not to_regnamespace, which may answer from before this transaction waited for its lock
    return bool(await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", schema))


def _folder(name: str) -> Any:
    return files(__package__) / name
