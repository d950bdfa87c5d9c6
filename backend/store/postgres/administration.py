"""Administration of a store in PostgreSQL (`roost.backend.store.administration`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from roost.backend.store.administration import WATCHED_S, Backup, Findings, Stats, check_unused
from roost.backend.store.port import StoreLimits
from roost.backend.store.postgres import restoration
from roost.backend.store.postgres.dedicated_connection import Address, DedicatedConnection, reason
from roost.backend.store.postgres.inspection import Inspection
from roost.backend.store.postgres.rights import grant
from roost.backend.store.postgres.schema import (
    CONVERTIBLE,
    SCHEMA,
    drop_unused,
    function_schema,
    migrate,
    search_path,
    version,
)
from roost.backend.store.postgres.statistics import Statistics
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.errors import Misuse

SETTINGS = {
    "application_name": "roost store",
    "search_path": search_path(),
    "statement_timeout": "0",
    "lock_timeout": "0",
}
CONVERTED_BYTES_PER_S = 7e6
"""Measured with 650 MB on two cores that other work kept busy."""
_SIZE = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'"

T = TypeVar("T")


class PostgresAdministration:
    """`Administration` of the store in the database that `url` names."""

    def __init__(self, url: str, limits: StoreLimits, clock: Clock = SYSTEM_CLOCK) -> None:
        self._limits, self._clock = limits, clock
        self._writable = Address(url, SETTINGS)
        self._readable = Address(url, SETTINGS, "primary")

    async def expectation(self) -> list[str]:
        return await self._run(self._writable, self._expectation)

    async def _expectation(self, connection: Any) -> list[str]:
        number, _ = await version(connection)
        if number not in CONVERTIBLE:
            return []
        size = int(await connection.fetchval(_SIZE, SCHEMA))
        return [
            f"A store of 0.1 is converted: its {size / 1e6:,.0f} MB are copied, in about "
            f"{size / CONVERTED_BYTES_PER_S / 60 + 1:.0f} minutes, and need as much space again until that is done.",
            "Its lock servers must have stopped. If the conversion is interrupted, the store is as it was.",
        ]

    async def migrate(self, grant_to: str = "") -> list[str]:
        return await self._run(self._writable, lambda connection: self._migrate(connection, grant_to))

    async def _migrate(self, connection: Any, grant_to: str) -> list[str]:
        done = await migrate(connection, self._limits.retention_s, timeout_s=0)
        done += await drop_unused(connection)
        if not done:
            number, _ = await version(connection)
            done.append(
                f"Nothing to do: the tables are number {number}, and the functions of this version are in the schema "
                f"{function_schema()}."
            )
        if grant_to:
            done += await grant(connection, grant_to)
        return done

    async def check(self) -> Findings:
        return await self._run(
            self._readable, lambda connection: Inspection(connection, self._limits.retention_s).findings()
        )

    async def stats(self) -> Stats:
        return await self._run(self._readable, lambda connection: Statistics(connection).stats())

    async def look_back(self) -> Backup:
        first = await self._run(self._writable, restoration.look_back)
        await self._clock.sleep(WATCHED_S)
        backup = await self._run(self._writable, restoration.look_back)
        check_unused(first, backup)
        return backup

    async def go_on(self, backup: Backup) -> list[str]:
        return await self._run(self._writable, lambda connection: restoration.go_on(connection, backup))

    async def _run(self, address: Address, work: Callable[[Any], Awaitable[T]]) -> T:
        """Call `work` with a connection of its own. Raises Misuse when the user's rights do not allow it."""

        async def allowed(connection: Any) -> T:
            try:
                return await work(connection)
            except asyncpg.InsufficientPrivilegeError as problem:
                raise Misuse(
                    f"this user may not do that ({reason(problem)}): use the owner of the database"
                ) from problem

        connection = DedicatedConnection(address, timeout_s=None)
        try:
            return await connection.run(allowed)
        finally:
            await connection.stop()
