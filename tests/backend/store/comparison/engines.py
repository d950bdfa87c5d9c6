"""Both engines, in one transaction each that is never committed: states are written, decisions made and undone."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from roost.backend.store.port import READ_KEEPS_S
from roost.backend.store.postgres import row_codec
from roost.backend.store.postgres.dedicated_connection import Address
from roost.backend.store.postgres.postgres_store import PostgresStore
from roost.backend.store.sqlite.decisions import SqliteDecisions
from roost.backend.store.sqlite.sqlite_store import RETIRE_AT_ONCE
from roost.backend.store.statements import load
from roost.wire.messages.lock import (
    Acquired,
    Answer,
    Completed,
    Decision,
    FinishedRequests,
    GatewayPoll,
    LeaseRenewal,
    PutPart,
    ReadParts,
    Verdict,
)
from tests.backend.store.comparison.states import LIMITS, NOW, State
from tests.backend.store.comparison.steps import Question, Tick
from tests.backend.store.database import shared_url

FIRST_JOB, FIRST_TOKEN = 1_000_000, 2_000_000
"""Numbers that the engines give out are greater than these."""
TIMES = {
    *("lease_until", "not_before", "deadline", "created_at", "started_at", "finished_at", "keep_until"),
    *("reserved_until", "detached_at", "unknown_at", "seen_at", "search_at", "ticked_at", "no_reap_before"),
}
TABLES = ("jobs", "requests", "results", "gateways")
_SCHEMA = load("sqlite/statements.sql")["schema"]


def _columns(table: str) -> list[str]:
    body = _SCHEMA.split(f"CREATE TABLE {table} (\n")[1].split("\n)")[0]
    return re.findall(r"^  ([a-z]\w*)", body, re.MULTILINE)


COLUMNS = {table: _columns(table) for table in TABLES}
SEEN = {**COLUMNS, "clock": ["ticked_at", "no_reap_before"]}
_ALL_SEEN = ", ".join(f"ARRAY(SELECT s FROM seen_{table} s) AS seen_{table}" for table in SEEN)
ATTEMPT = f"""
CREATE FUNCTION pg_temp.attempt(
  acquires acquire_command[], offers offer[], completes complete_command[], releases release_command[],
  requests request_command[], l limits, OUT granted granted[], OUT verdicts verdict[], OUT statuses request_status[],
  OUT finished request_status[], OUT watchers watcher[],
  {", ".join(f"OUT seen_{table} seen_{table}[]" for table in SEEN)}
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  SELECT d.granted, d.verdicts, d.statuses, d.finished, d.watchers INTO granted, verdicts, statuses, finished, watchers
  FROM decide(attempt.acquires, attempt.offers, attempt.completes, attempt.releases, attempt.requests, attempt.l) d;
  SELECT {_ALL_SEEN} INTO {", ".join(f"seen_{table}" for table in SEEN)};
  RAISE SQLSTATE 'UNDO1';
EXCEPTION WHEN SQLSTATE 'UNDO1' THEN  -- what was done is undone, and variables keep their values
END $$
"""
"""Decides, sees all rows, and undoes it, in one round trip."""
Rows = dict[str, list[tuple[Any, ...]]]


class Engine(Protocol):
    """An engine whose store is in one transaction."""

    async def write(self, state: State) -> None:
        """Begin a transaction with these rows and nothing else."""

    async def mark(self, name: str) -> None:
        """Note how everything is now."""

    async def back_to(self, name: str) -> None:
        """Undo what was done since then."""

    async def ask(self, questions: Sequence[Question]) -> Any:
        """Ask a batch of decisions, or one other question, and return what is answered."""

    async def rows(self) -> Rows:
        """Return all rows, times in seconds."""

    async def attempt(self, questions: Sequence[Question]) -> tuple[Any, Rows]:
        """Ask, return what is answered and all rows then, and undo it."""


class Sqlite:
    """An `Engine`: SQLite in memory."""

    def __init__(self) -> None:
        self._sql = load("sqlite/statements.sql")
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._db.execute("PRAGMA foreign_keys = ON")

    async def write(self, state: State) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN")
        for table in TABLES:
            names = COLUMNS[table]
            query = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
            self._db.executemany(query, getattr(state, table))
        self._db.execute(
            "UPDATE clock SET now = ?, ticked_at = ?, no_reap_before = ?, last_job = ?, last_token = ?",
            (NOW - 1, NOW - 1, NOW + state.seconds_to_reap, FIRST_JOB, FIRST_TOKEN),
        )

    async def mark(self, name: str) -> None:
        self._db.execute(f"SAVEPOINT {name}")

    async def back_to(self, name: str) -> None:
        self._db.execute(f"ROLLBACK TO {name}")

    async def ask(self, questions: Sequence[Question]) -> Any:
        now = SqliteDecisions(self._db, self._sql, LIMITS, NOW)
        first: Any = questions[0]
        match first:
            case LeaseRenewal():
                return now.renew(first)
            case PutPart():
                return now.put_part(first)
            case ReadParts(job, token, number, count):
                now.keep_read(first)
                return [data for (data,) in now.do("read_parts", job=job, token=token, first=number, many=count)]
            case GatewayPoll(gateway):
                now.see_gateway(gateway)
                return now.sweep(first)
            case Tick():
                return now.tick(RETIRE_AT_ONCE)
        decisions: Any = questions
        answers = [now.decide(decision) for decision in decisions]
        if len(answers) == 1:
            return answers
        return [self._at_the_end(now, *each) for each in zip(decisions, answers, strict=True)]

    def _at_the_end(self, now: SqliteDecisions, decision: Any, answer: Answer) -> Answer:
        """The answer with those who wait when the batch is over: the port allows both."""
        replace = msgspec.structs.replace
        match answer:
            case Acquired(grants):
                return replace(answer, grants=[replace(g, watchers=now.waiting_requests(g.job)) for g in grants])
            case Completed(Verdict.OK):
                return replace(answer, watchers=now.waiting_requests(decision.job))
        return answer

    async def rows(self) -> Rows:
        return {
            table: _sorted(self._db.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall())
            for table, names in SEEN.items()
        }

    async def attempt(self, questions: Sequence[Question]) -> tuple[Any, Rows]:
        await self.mark("attempt")
        answers = await self.ask(questions)
        rows = await self.rows()
        await self.back_to("attempt")
        return answers, rows


class _Borrowed:
    """Stands for a `DedicatedConnection` of the store: all of them are one connection, in one transaction."""

    waiting_count = 0

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, query: str, *values: object) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(query, *values)
        return rows

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await work(self._connection)


class Postgres:
    """An `Engine`: the store's own calls over one connection to the tests' database."""

    async def start(self) -> None:
        """Connect; the database has its tables, and the time stands still."""
        self._connection = await Address(shared_url()).connect()
        await self._connection.execute("SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0")
        self._store: Any = PostgresStore(shared_url(), LIMITS)
        borrowed = _Borrowed(self._connection)
        own = dict.fromkeys(("_decisions", "_renewals", "_polls", "_time", "_gateways"), borrowed)
        vars(self._store).update(own, _parts=[borrowed], _is_open=True)
        for table, names in SEEN.items():
            seen = f"SELECT {', '.join(map(_read, names))} FROM {table}"
            await self._connection.execute(f"CREATE TEMP VIEW seen_{table} AS {seen}")
        await self._connection.execute(ATTEMPT)

    async def stop(self) -> None:
        """Undo everything, and disconnect."""
        await self._connection.close()

    async def write(self, state: State) -> None:
        run = self._connection.execute
        await run("ROLLBACK; BEGIN" if self._connection.is_in_transaction() else "BEGIN")
        for table in TABLES:
            names = COLUMNS[table]
            values = [[row[name] for name in names] for row in getattr(state, table)]
            if values:
                await self._connection.executemany(
                    f"INSERT INTO {table} ({', '.join(names)}) VALUES "
                    f"({', '.join(_written(name, number) for number, name in enumerate(names, 1))})",
                    values,
                )
        await run(
            f"UPDATE clock SET ticked_at = to_timestamp({NOW - 1}), "
            f"no_reap_before = to_timestamp({NOW + state.seconds_to_reap});"
            f"SELECT setval('job_ids', {FIRST_JOB}), setval('tokens', {FIRST_TOKEN})"
        )

    async def mark(self, name: str) -> None:
        await self._connection.execute(f"SAVEPOINT {name}")

    async def back_to(self, name: str) -> None:
        await self._connection.execute(f"ROLLBACK TO {name}")

    async def ask(self, questions: Sequence[Question]) -> Any:
        first = questions[0]
        match first:
            case LeaseRenewal():
                return (await self._store.beat([first]))[0]
            case PutPart():
                return await self._store.put_part(first)
            case ReadParts():
                return await self._store.read_parts(first)
            case GatewayPoll():
                return await self._store.sweep(first)
            case Tick():
                return await self._store.tick()
        return await self._store.decide(list(questions))

    async def rows(self) -> Rows:
        (row,) = await self._connection.fetch(f"SELECT {_ALL_SEEN}")
        return self._in_order(row)

    def _in_order(self, row: Any) -> Rows:
        return {table: _sorted(map(tuple, row[f"seen_{table}"])) for table in SEEN}

    async def attempt(self, questions: Sequence[Question]) -> tuple[Any, Rows]:
        if not isinstance(questions[0], Decision):
            await self.mark("attempt")
            answers = await self.ask(questions)
            rows = await self.rows()
            await self.back_to("attempt")
            return answers, rows
        decisions: Any = questions
        values = *row_codec.Commands.of(decisions).values, self._store._limits_row
        (found,) = await self._connection.fetch("SELECT * FROM pg_temp.attempt($1, $2, $3, $4, $5, $6)", *values)
        return row_codec.answers(decisions, found, LIMITS.lease_s), self._in_order(found)


def _sorted(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: row[:3])  # no key is longer


def _read(name: str) -> str:
    return f"extract(epoch FROM {name})::double precision AS {name}" if name in TIMES else name


def _written(name: str, number: int) -> str:
    return f"to_timestamp(${number})" if name in TIMES else f"${number}"


class Names:
    """Names for the numbers that an engine has given out, in the order in which they are seen."""

    def __init__(self, known: Names | None = None) -> None:
        self._names: dict[int, str] = dict(known._names) if known else {}

    def of(self, value: Any) -> Any:
        """The value with names, messages as lists, and what has no order in one."""
        if isinstance(value, FinishedRequests):
            knocks = [self.of(msgspec.structs.replace(k, requests=sorted(k.requests))) for k in value.knocks]
            return sorted(knocks, key=repr), sorted(value.unknown)
        if isinstance(value, msgspec.Struct):
            return type(value).__name__, *(self.of(each) for each in msgspec.structs.astuple(value))
        if isinstance(value, list | tuple):
            return [self.of(each) for each in value]
        if isinstance(value, int) and value > FIRST_JOB:
            kind = "job" if value < FIRST_TOKEN else "token"
            return self._names.setdefault(value, f"{kind} {len(self._names)}")
        return value


assert READ_KEEPS_S > 60.0, "a result that is `soon deleted` is kept longer when it is read"
