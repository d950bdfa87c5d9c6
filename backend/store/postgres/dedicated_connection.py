"""Connections of the PostgreSQL store: choice of the host, and translation of errors.

A `DedicatedConnection` is one connection, opened on first use and again after it broke, and used by one call at a time.
Each kind of call has connections of its own, so that it does not wait for other kinds (P18); a pool is not needed.
After a call that failed part-way, the connection is closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg

from roost.backend.host_lists import each_host
from roost.backend.store.postgres.schema import search_path
from roost.wire.errors import Unavailable

log = logging.getLogger(__name__)

CONNECT_S = 2.0
"""Timeout for each host: one that is switched off does not answer at all, and the next one must be tried."""
SETTINGS = {
    "application_name": "roost",
    "search_path": search_path(),
    "default_transaction_isolation": "read committed",  # each statement sees the changes for which earlier locks waited
    "lock_timeout": "1s",
    "statement_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    # All statements are index look-ups, and a plan that was made while the tables were empty must be one too. Measured
    # with `bench lock` (batches of 400, best of four) and `test_what_a_batch_reads_does_not_grow_with_what_is_stored`:
    "plan_cache_mode": "force_generic_plan",  # else plans are made anew, and one read 5,582 rows more for 50 decisions
    "enable_seqscan": "off",  # else 10,700 decisions/s instead of 17,000
    "jit": "off",  # else a scan of the one row of `clock`, which counts as expensive now, is compiled: 84 ms, not 0.02
}
DURABLE = """SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"""

DATA_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeError,
    OverflowError,
)
"""Errors caused by the data that was to be stored (P19)."""
BUSY_ERRORS = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
RACES = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Errors after which nothing was done, and an immediate retry may succeed."""
TRIES = 3
OUTAGES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

T = TypeVar("T")


class Address:
    """Where the database is: ``postgresql://user:password@host:port,host:port/name``; one host is the primary.

    Connections are made with `settings`, to a server that is as `wanted` says (libpq's ``target_session_attrs``). The
    password appears in no error and in no log line.
    """

    def __init__(self, url: str, settings: Mapping[str, str] = SETTINGS, wanted: str = "read-write") -> None:
        self._urls, self._settings, self._wanted = each_host(url), dict(settings), wanted

    async def connect(self) -> Any:
        """Connect to a host that is as wanted; the last such host is tried first. Raises Unavailable."""
        reasons = []
        for url in list(self._urls):
            try:
                connection = await self._connect(url)
                self._urls.sort(key=lambda other: other != url)
                return connection
            except (*OUTAGES, ValueError) as problem:
                reasons.append(f"{urlsplit(url).netloc.rpartition('@')[2]}: {reason(problem)}")
        raise Unavailable("store", "; ".join(reasons))

    async def _connect(self, url: str) -> Any:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_S,
            target_session_attrs=self._wanted,
            max_cached_statement_lifetime=0,
            server_settings=self._settings,
        )
        try:
            await connection.execute(DURABLE)
        except BaseException:
            connection.terminate()
            raise
        return connection


def reason(problem: BaseException) -> str:
    """Return the first line of an error of the driver, or the name of its type."""
    return str(problem).splitlines()[0] if str(problem) else type(problem).__name__


class DedicatedConnection:
    """One connection to `address`. A call that takes longer than `timeout_s` (None: no limit) raises Unavailable."""

    def __init__(self, address: Address, timeout_s: float | None) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._connection: Any = None
        self._lock = asyncio.Lock()
        self._outage_count = 0
        self.waiting_count = 0

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """Run one statement and return its rows. Raises Unavailable; DATA_ERRORS are raised unchanged."""
        rows: list[Any] = await self.run(lambda connection: connection.fetch(query, *values))
        return rows

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Call `work` with the connection after the calls before it. `work` may be called again after a lost race.

        Raises Unavailable: then none or all of it was done. DATA_ERRORS are raised unchanged.
        """
        outages = self._outage_count
        self.waiting_count += 1
        try:
            async with self._lock:
                if self._outage_count != outages:
                    raise Unavailable("store", "it went away before this call had its turn")
                return await self._run(work)
        finally:
            self.waiting_count -= 1

    async def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        for tries_left in reversed(range(TRIES)):
            try:
                return await self._try(work)
            except RACES as problem:
                if not tries_left:
                    raise Unavailable("store", reason(problem)) from problem
        raise AssertionError("there is always a last try")

    async def _try(self, work: Callable[[Any], Awaitable[T]]) -> T:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._address.connect()
            async with asyncio.timeout(self._timeout_s):
                return await work(self._connection)
        except (*DATA_ERRORS, *RACES):
            raise
        except BUSY_ERRORS as problem:
            raise Unavailable("store", f"busy: {reason(problem)}") from problem
        except Unavailable:
            self._outage_count += 1
            raise
        except OUTAGES as problem:
            self._drop()
            self._outage_count += 1
            raise Unavailable("store", reason(problem)) from problem
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def stop(self) -> None:
        """Close the connection. It may be called twice."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(*OUTAGES):
                    await connection.close(timeout=CONNECT_S)
