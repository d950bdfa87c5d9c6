"""Both engines, as something that is brought into a state, called, looked at and rolled back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import asyncpg

from roost.backend.store.postgres import row_codec
from roost.backend.store.postgres.dedicated_connection import SETTINGS
from roost.backend.store.postgres.postgres_store import AGAIN_S, AT_ONCE
from roost.backend.store.postgres.schema import migrate
from roost.backend.store.sqlite.decisions import SqliteDecisions
from roost.backend.store.statements import load
from roost.wire.messages.lock import GatewayPoll, LeaseAnswer, LeaseRenewal, PutPart, ReadParts, Verdict
from tests.backend.store.every_state.calls import DECISIONS, Call, Tick
from tests.backend.store.every_state.states import LIMITS, NOW, Row, State

TABLES = {"jobs": "id", "requests": "client, request", "results": "job, token, seq", "gateways": "incarnation"}
TIMES = {"lease_until", "not_before", "deadline", "created_at", "started_at", "finished_at", "keep_until"} | {
    "reserved_until", "detached_at", "unknown_at", "seen_at"
}  # fmt: skip
LEFT_OUT = ("is_open", "search_at")
LAST_TOKEN, LAST_JOB = 1000, 100
COUNTERS = f"setval('tokens', {LAST_TOKEN}), setval('job_ids', {LAST_JOB})"
AFTER_OUTAGE_S = 3.0
"""Leases are not lost before so many seconds have passed."""

Rows = dict[str, list[Row]]


def no_reap_before(state: State) -> float:
    """The end of the time in which nobody loses a lease."""
    return NOW - 1e6 if state.may_reap else NOW + AFTER_OUTAGE_S


class Sqlite:
    """The embedded engine, in memory."""

    def __init__(self) -> None:
        self._sql = load("sqlite/statements.sql")
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.execute("PRAGMA foreign_keys = ON")
        for statement in self._sql["schema"].split(";\n"):
            self._db.execute(statement)
        self._state = State("")

    async def enter(self, state: State) -> None:
        self._state = state
        self._db.execute("BEGIN")
        values = (NOW, NOW, no_reap_before(state), LAST_TOKEN)
        self._db.execute("UPDATE clock SET now = ?, ticked_at = ?, no_reap_before = ?, last_token = ?", values)
        for table in TABLES:
            for row in getattr(state, table):
                known = {name: self._value(name, value) for name, value in row.items()}
                names, places = ", ".join(known), ", ".join("?" * len(known))
                self._db.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(known.values()))
        self._db.execute("SAVEPOINT state")

    def _value(self, name: str, value: Any) -> Any:
        if name == "not_before" and value is None:
            return 0.0
        return _at(name, value)

    async def call(self, calls: Sequence[Call]) -> list[Any]:
        state = self._state
        transaction = SqliteDecisions(self._db, self._sql, LIMITS, NOW, no_reap_before(state), False)
        if all(isinstance(call, DECISIONS) for call in calls):
            return list(transaction.decide_all([call for call in calls if isinstance(call, DECISIONS)]))
        return [self._one(transaction, call) for call in calls]

    def _one(self, transaction: SqliteDecisions, call: Call) -> Any:
        match call:
            case LeaseRenewal():
                return transaction.beat(call)
            case PutPart():
                return transaction.put_part(call)
            case ReadParts(job, token):
                transaction.keep_read(job, token)
                values = {"job": job, "token": token, "first": call.first, "many": call.count}
                return [data for (data,) in self._db.execute(self._sql["read_parts"], values)]
            case GatewayPoll(gateway):
                transaction.see_gateway(gateway)
                return transaction.sweep(call)
            case Tick():
                transaction.tick()
                transaction.end_overdue(AT_ONCE)
                transaction.leave_gone(AT_ONCE)
                return transaction.delete_old(AT_ONCE)
            case _:
                return transaction.decide_all([call])[0]

    async def rows(self) -> Rows:
        found: Rows = {}
        for table, order in TABLES.items():
            cursor = self._db.execute(f"SELECT * FROM {table} ORDER BY {order}")
            names = [column[0] for column in cursor.description]
            found[table] = [_plain(dict(zip(names, row, strict=True))) for row in cursor]
        return found

    async def back(self) -> None:
        self._db.execute("ROLLBACK TO state")

    async def leave(self) -> None:
        self._db.execute("ROLLBACK")

    async def stop(self) -> None:
        self._db.close()


class Postgres:
    """The server, with the statements and rows of the store, on one connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sql = load("postgres/calls.sql")
        self._limits = row_codec.limits_row(LIMITS)

    async def start(self) -> None:
        settings = {**SETTINGS, "statement_timeout": "30s"}
        self._db = await asyncpg.connect(self._url, server_settings=settings)
        await migrate(self._db, LIMITS.retention_s)
        await self._db.execute(
            "CREATE OR REPLACE FUNCTION server_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
            f"'SELECT to_timestamp({NOW})'"
        )
        self._rows = await self._db.prepare(
            "SELECT "
            + ", ".join(
                f"ARRAY(SELECT t FROM {table} t ORDER BY {order}) AS {table}" for table, order in TABLES.items()
            )
            + f", setval('tokens', {LAST_TOKEN}), setval('job_ids', {LAST_JOB})"
        )

    async def enter(self, state: State) -> None:
        await self._db.execute("BEGIN")
        await self._db.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await self._db.execute(
            f"UPDATE clock SET ticked_at = to_timestamp({NOW}), no_reap_before = to_timestamp({no_reap_before(state)})"
        )
        for table in TABLES:
            for row in getattr(state, table):
                known = {name: value for name, value in row.items() if (name, value) != ("not_before", None)}
                places = ", ".join(
                    f"to_timestamp(${place}::float8)" if name in TIMES else f"${place}"
                    for place, name in enumerate(known, 1)
                )
                values = [
                    NOW + value if name in TIMES and value is not None else value for name, value in known.items()
                ]
                await self._db.execute(f"INSERT INTO {table} ({', '.join(known)}) VALUES ({places})", *values)
        await self._db.execute(f"SELECT {COUNTERS}")
        await self._db.execute("SAVEPOINT state")

    async def call(self, calls: Sequence[Call]) -> list[Any]:
        if all(isinstance(call, DECISIONS) for call in calls):
            decisions = [call for call in calls if isinstance(call, DECISIONS)]
            values = row_codec.Commands.of(decisions).values
            (found,) = await self._db.fetch(self._sql["decide"], *values, self._limits)
            return row_codec.answers(decisions, found, LIMITS.lease_s)
        return [await self._one(call) for call in calls]

    async def _one(self, call: Call) -> Any:
        match call:
            case LeaseRenewal():
                rows = await self._ask("renew", [row_codec.lease_renewal(call)], self._limits)
                if not rows:
                    return LeaseAnswer(Verdict.LOST)
                verdict = Verdict.CANCEL if rows[0]["is_cancelled"] else Verdict.OK
                return LeaseAnswer(verdict, [row_codec.request_ref(row) for row in rows if row["client"] is not None])
            case PutPart(job, token, seq, data):
                ((is_stored,),) = await self._ask("put_part", job, token, seq, data)
                return Verdict.OK if is_stored else Verdict.LOST
            case ReadParts(job, token, first, count):
                return [row["data"] for row in await self._ask("read_parts", job, token, first, count, self._limits)]
            case GatewayPoll(gateway):
                await self._ask("see_gateway", gateway, self._limits)
                return row_codec.finished_requests(await self._ask("sweep", gateway, self._limits))
            case Tick():
                await self._ask("tick", self._limits)
                await self._ask("end_overdue", AT_ONCE, self._limits)
                await self._ask("leave_detached", AT_ONCE, self._limits)
                await self._ask("leave_dead_gateways", AT_ONCE, AGAIN_S, self._limits)
                await self._ask("delete_old", AT_ONCE, self._limits)
                return None
            case _:
                return (await self.call([call]))[0]

    async def _ask(self, name: str, *values: object) -> list[Any]:
        rows: list[Any] = await self._db.fetch(self._sql[name], *values)
        return rows

    async def rows(self) -> Rows:
        (found,) = await self._rows.fetch()
        return {table: [_plain(dict(row)) for row in found[table]] for table in TABLES}

    async def back(self) -> None:
        await self._db.execute("ROLLBACK TO state")

    async def leave(self) -> None:
        await self._db.execute("ROLLBACK")

    async def stop(self) -> None:
        await self._db.close()


def _at(name: str, value: Any) -> Any:
    """Times are given in seconds after `NOW`."""
    return NOW + value if name in TIMES and value is not None else value


def _plain(row: Row) -> Row:
    """The row with times in seconds after `NOW`, to the millisecond, and truth values as such."""
    return {name: _plain_value(name, value) for name, value in row.items() if name not in LEFT_OUT}


def _plain_value(name: str, value: Any) -> Any:
    if name == "not_before":
        seconds = value if isinstance(value, float) else _seconds(value)
        return None if seconds is None or seconds <= 0 else round(seconds - NOW, 3)
    if name in TIMES and value is not None:
        return round((value if isinstance(value, float) else value.timestamp()) - NOW, 3)
    if name in ("renewed", "cancel", "stream", "grace_ended"):
        return bool(value)
    return round(value, 3) if name == "rank" else value


def _seconds(value: Any) -> float | None:
    return None if value.year == 1 else float(value.timestamp())
