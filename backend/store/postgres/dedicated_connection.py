"""Connections of the PostgreSQL store: who is connected to, and what becomes of errors.

A lane is one connection, made when it is first needed and again whenever it broke, and used by one call at a time.
Calls of different kinds have lanes of their own, so that none waits behind another's (P18): that is all a pool would
be here. A call that fails leaves no connection behind that may be half-way through something.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg

from roost.backend.host_lists import each_host
from roost.backend.store.postgres.schema import SCHEMA
from roost.wire.errors import Unavailable

log = logging.getLogger(__name__)

CONNECT_S = 2.0
"""For each host: one that is switched off does not answer at all, and the next is to be tried."""
SETTINGS = {
    "application_name": "roost",
    "search_path": SCHEMA,
    "default_transaction_isolation": "read committed",  # each statement sees what the locks before it waited for
    "lock_timeout": "1s",
    "statement_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    # All statements are index look-ups; a plan made while the tables were empty must not be anything else.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
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
"""The fault of what was to be stored (P19)."""
BUSY_ERRORS = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
RACES = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Nothing was done, and the same may go well the next moment."""
TRIES = 3
OUTAGES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

T = TypeVar("T")


class Address:
    """Where the database is: ``postgresql://user:password@host:port,host:port/name``; one of the hosts leads.

    No error and no log line shows the password.
    """

    def __init__(self, url: str) -> None:
        self._urls = each_host(url)

    async def connect(self) -> Any:
        """A connection to a host that is there and takes writes, the last one first. Raises Unavailable."""
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
            target_session_attrs="read-write",
            max_cached_statement_lifetime=0,
            server_settings=SETTINGS,
        )
        try:
            await connection.execute(DURABLE)
        except BaseException:
            connection.terminate()
            raise
        return connection


def reason(problem: BaseException) -> str:
    """An error of the driver in a few words."""
    return str(problem).splitlines()[0] if str(problem) else type(problem).__name__


class DedicatedConnection:
    """One connection to `address`; a call that takes longer than `patience_s` is given up."""

    def __init__(self, address: Address, patience_s: float) -> None:
        self._address, self._patience_s = address, patience_s
        self._connection: Any = None
        self._turn = asyncio.Lock()
        self._outage_count = 0
        self.waiting_count = 0

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """The rows of one statement. Raises Unavailable, and DATA_ERRORS as they are."""
        rows: list[Any] = await self.run(lambda connection: connection.fetch(query, *values))
        return rows

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do something with the connection when its turn has come; it may be done again after a race was lost.

        Raises Unavailable, then none or all of it was done; and DATA_ERRORS as they are.
        """
        outages = self._outage_count
        self.waiting_count += 1
        try:
            async with self._turn:
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
            async with asyncio.timeout(self._patience_s):
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
        """Close the connection; fine to call twice."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(*OUTAGES):
                    await connection.close(timeout=CONNECT_S)
