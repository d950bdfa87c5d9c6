"""What is wrong with a store in PostgreSQL: its tables, functions, indexes and settings, and then its rows.

Everything is read in one transaction that may not write, each statement within `LOOK_S`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import asyncpg

from roost.backend.store.administration import Findings
from roost.backend.store.findings import LEASE_LOST_S, WAITS_LONG_S, judge
from roost.backend.store.postgres.schema import SCHEMA, exists, function_schema, functions, newest, tables, version
from roost.backend.store.statements import load

LOOK_S = 30
"""Timeout (seconds) of one statement: enough for ten million rows."""
_FUNCTION = re.compile(r"^CREATE FUNCTION (\w+)", re.MULTILINE)
_INDEX = re.compile(r"^CREATE (UNIQUE )?INDEX (\w+) ON (.*?);", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_CONSTRAINT = re.compile(r"^  CONSTRAINT (\w+) (CHECK .*?),?$", re.MULTILINE)
MIGRATE = "run `roost store migrate` as the owner of the database"


class Inspection:
    """One look at a store. `retention_s` is how long its lock servers keep outcomes."""

    def __init__(self, connection: Any, retention_s: float) -> None:
        self._connection, self._retention_s = connection, retention_s
        self._sql = load("postgres/administration.sql")

    async def findings(self) -> Findings:
        """Return all that was found."""
        async with self._connection.transaction(readonly=True):
            await self._connection.execute(f"SET LOCAL statement_timeout = '{LOOK_S}s'")
            found = await self._settings()
            number, usable_from = await version(self._connection)
            problem = _of_another_version(number, usable_from)
            if problem:
                return found + Findings([problem])
            if number > newest():
                found += Findings(notes=[f"A newer version made the tables (number {number}); this one can use them."])
            for look in (self._functions, self._indexes, self._constraints, self._rows):
                found += await look()
            return found

    async def _functions(self) -> Findings:
        name = function_schema()
        if not await exists(self._connection, name):
            return Findings([f"The functions of this version ({name}) are missing: {MIGRATE}."])
        rows = await self._fetch("functions", name)
        text = functions()
        missing = Counter(_FUNCTION.findall(text)) - Counter(row["name"] for row in rows)
        changed = {row["name"] for row in rows if not _is_of(text, row["body"])}
        if not missing and not changed:
            return Findings()
        return Findings([
            f"Functions in the schema {name} are not this version's ({', '.join(sorted({*missing, *changed}))}): "
            f"stop the lock servers, drop that schema with CASCADE, and {MIGRATE}."
        ])  # fmt: skip

    async def _indexes(self) -> Findings:
        found = {row["name"]: row["is_valid"] for row in await self._fetch("indexes")}
        wrong = [
            f"The index {name} is not valid, and no query uses it: REINDEX INDEX CONCURRENTLY {SCHEMA}.{name}."
            for name, is_valid in sorted(found.items())
            if not is_valid
        ]
        wrong += [
            f"The index {name} is missing, so that queries read whole tables: {statement}."
            for name, statement in expected_indexes().items()
            if name not in found
        ]
        return Findings(wrong)

    async def _constraints(self) -> Findings:
        rows = await self._fetch("constraints")
        wrong = [
            f"The constraint {row['name']} was never validated: "
            f"ALTER TABLE {row['of']} VALIDATE CONSTRAINT {row['name']}."
            for row in rows
            if not row["is_valid"]
        ]
        wrong += [
            f"The constraint {name} is missing: "
            f"ALTER TABLE {SCHEMA}.{name.partition('_')[0]} ADD CONSTRAINT {name} {rule}."
            for name, rule in expected_constraints().items()
            if name not in {row["name"] for row in rows}
        ]
        return Findings(wrong)

    async def _settings(self) -> Findings:
        settings = {row["name"]: row["setting"] for row in await self._fetch("settings")}
        wrong = [
            f"{name} is off, so that a crash of the server may damage the database: ALTER SYSTEM SET {name} = on, "
            "then SELECT pg_reload_conf()."
            for name in ("fsync", "full_page_writes")
            if settings[name] == "off"
        ]
        wrong += [
            f"{name} is off, so that tables grow without bound: ALTER SYSTEM SET {name} = on, "
            "then SELECT pg_reload_conf()."
            for name in ("autovacuum", "track_counts")
            if settings[name] == "off"
        ]
        notes = await self._standbys()
        default = await self._connection.fetchval("SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'")
        if default not in ("on", "remote_apply"):
            notes.append(f"synchronous_commit is {default} here; lock servers set it to on for themselves.")
        return Findings(wrong, notes)

    async def _standbys(self) -> list[str]:
        ((count, synchronous),) = await self._fetch("standbys")
        if not count or synchronous:
            return []
        return [
            "All standbys are asynchronous, so none of them may take over by itself: it may lack what was answered, "
            "and give out tokens twice. Set synchronous_standby_names, or run `roost store restored` after a failover."
        ]

    async def _rows(self) -> Findings:
        rows = await self._fetch("clock")
        if not rows:
            return Findings([f"The row of the table clock is missing: INSERT INTO {SCHEMA}.clock DEFAULT VALUES."])
        found = judge("clock", rows[0])
        now = rows[0]["now"]
        for name, values in (
            ("expired_leases", (now, LEASE_LOST_S)),
            ("waiting", (now, WAITS_LONG_S)),
            ("lost_requests", (now, self._retention_s)),
            ("stray_results", ()),
            ("numbers", ()),
        ):
            found += await self._judge(name, *values)
        found += Findings([
            f"autovacuum is switched off for the table {row['name']}, which grows without bound: "
            f"ALTER TABLE {SCHEMA}.{row['name']} RESET (autovacuum_enabled)."
            for row in await self._fetch("unvacuumed")
        ])  # fmt: skip
        return found

    async def _judge(self, name: str, *values: float) -> Findings:
        try:
            async with self._connection.transaction():
                (row,) = await self._fetch(name, *values)
        except asyncpg.QueryCanceledError:
            return Findings(notes=[f"Not looked at, because it takes more than {LOOK_S} s: {name.replace('_', ' ')}."])
        return judge(name, row)

    async def _fetch(self, name: str, *values: object) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(self._sql[name], *values)
        return rows


def expected_indexes() -> dict[str, str]:
    """Return the statement for each index, as the files of the tables have them; a primary key is one, too."""
    found = {}
    for text in tables().values():
        for name in _TABLE.findall(text):
            found[f"{name}_pkey"] = f"restore the table {SCHEMA}.{name}, whose primary key it is, from a backup"
        for unique, name, rest in _INDEX.findall(text):
            found[name] = f"CREATE {unique}INDEX CONCURRENTLY {name} ON {SCHEMA}.{rest}"
    return found


def expected_constraints() -> dict[str, str]:
    """Return the rule of each named constraint, as the files of the tables have them."""
    return {name: rule for text in tables().values() for name, rule in _CONSTRAINT.findall(text)}


def _of_another_version(number: int, usable_from: int) -> str:
    if number == 0:
        return f"There are no tables of Roost in this database: {MIGRATE}, or start a lock server."
    if usable_from > newest():
        return (
            f"The database was used by a newer Roost (tables {number}, this one knows {newest()}): use that version's "
            "`roost store check`."
        )
    if number < newest():
        return f"The tables are those of an older version (number {number}, this one has {newest()}): {MIGRATE}."
    return ""


def _is_of(text: str, body: str) -> bool:
    """Whether this body of a function stands in the text, where a quoted one has its quotes doubled."""
    return f"$${body}$$" in text or "'" + body.replace("'", "''") + "'" in text
