"""The embedded store: one SQLite file, one writer thread.

It is for one host with a local disk (P30). Every call is one transaction (BEGIN IMMEDIATE, ``synchronous=FULL``),
which runs as a whole in the store's own thread. So a batch of decisions crosses threads once, and not once per
statement; this is why the standard library's sqlite3 is used and not an asynchronous wrapper. The time is the greater
of the last stored time and the clock, so that it never goes back, not even over a restart.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from roost.backend.store.port import READ_KEEPS_S, StoreLimits
from roost.backend.store.sqlite.decisions import SqliteDecisions
from roost.backend.store.sqlite.schema import prepare
from roost.backend.store.statements import load
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.errors import Misuse, Unavailable
from roost.wire.messages.lock import (
    Answer,
    Decision,
    FinishedRequests,
    GatewayPoll,
    LeaseAnswer,
    LeaseRenewal,
    PutPart,
    ReadParts,
    Verdict,
)

BUSY_TIMEOUT_S = 1.0
"""Another lock server on the same file commits within this time, or the call is answered Unavailable (P18)."""
RETIRE_AT_ONCE = 200
"""Most rows that one tick ends or deletes: a few milliseconds of the writer."""

T = TypeVar("T")


class SqliteStore:
    """A `Store` in the file `path`. With ``:memory:`` it is lost with the process."""

    def __init__(self, path: str, limits: StoreLimits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = path
        self._limits = limits or StoreLimits()
        self._clock = clock
        self._sql = load("sqlite/statements.sql")
        self._thread: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None
        self._last_time = (0.0, 0.0)

    async def start(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            await self._in_thread(self._open)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    async def decide(self, decisions: list[Decision]) -> list[Answer]:
        return await self._transaction(lambda transaction: [transaction.decide(decision) for decision in decisions])

    async def beat(self, renewals: list[LeaseRenewal]) -> list[LeaseAnswer]:
        return await self._transaction(lambda transaction: [transaction.renew(renewal) for renewal in renewals])

    async def put_part(self, part: PutPart) -> Verdict:
        return await self._transaction(lambda transaction: transaction.put_part(part))

    async def read_parts(self, wanted: ReadParts) -> list[bytes]:
        values = {"job": wanted.job, "token": wanted.token, "first": wanted.first, "many": wanted.count}

        def read() -> list[bytes]:
            db = self._connection()
            (kept_until,) = db.execute(self._sql["kept_until"], values).fetchone() or (None,)
            if kept_until is not None and kept_until < self._time() + READ_KEEPS_S:
                self._write(lambda transaction: transaction.keep_read(wanted))
            return [data for (data,) in db.execute(self._sql["read_parts"], values)]

        return await self._in_thread(read)

    async def sweep(self, poll: GatewayPoll) -> FinishedRequests:
        await self._transaction(lambda transaction: transaction.see_gateway(poll.gateway))
        return await self._transaction(lambda transaction: transaction.sweep(poll))

    async def waiting_count(self, most: int) -> int:
        def count() -> int:
            return int(self._connection().execute(self._sql["waiting_count"], {"most": most}).fetchone()[0])

        return await self._in_thread(count)

    async def tick(self) -> None:
        await self._in_thread(self._tick)

    # --- in the store's thread -------------------------------------------------------------------

    def _open(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        self._db = db
        self._last_time = (0.0, 0.0)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        prepare(db, self._path, self._limits.retention_s)
        db.execute("PRAGMA foreign_keys = ON")
        self._tick()

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise Misuse("the store is not open")
        return self._db

    def _write(self, action: Callable[[SqliteDecisions], T]) -> T:
        """Run `action` in one transaction, in the store's thread."""
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            transaction = SqliteDecisions(db, self._sql, self._limits, self._time())
            self._last_time = transaction.now, self._clock.monotonic()
            result = action(transaction)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return result

    def _time(self) -> float:
        """Return the time in seconds. While a wall clock that was set back is behind, monotonic time is added instead.

        Directly after opening, it is the wall clock.
        """
        time, read_at = self._last_time
        return max(self._clock.wall(), time + self._clock.monotonic() - read_at if time else 0.0)

    def _tick(self) -> None:
        self._write(lambda transaction: transaction.tick(RETIRE_AT_ONCE))

    # --- crossing threads ------------------------------------------------------------------------

    async def _transaction(self, action: Callable[[SqliteDecisions], T]) -> T:
        return await self._in_thread(lambda: self._write(action))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise Unavailable("store", "not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as problem:
            raise Unavailable("store", f"{self._path}: {problem}") from problem
