"""The store in PostgreSQL, for lock servers on any number of hosts.

A batch of decisions is one call of a server-side function, and so one transaction that no slow or dead client can keep
open. The rules of the protocol are in the ``.sql`` files in this folder. Calls that must not wait for one another have
connections of their own (P18). The time is the server's. What was answered is on the disk of the server, and of a
synchronous standby if there is one. Only such a standby may take over; otherwise tokens could repeat (P30).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roost.backend.store.port import SEARCH_AGAIN_S, StoreLimits
from roost.backend.store.postgres import row_codec
from roost.backend.store.postgres.dedicated_connection import DATA_ERRORS, Address, DedicatedConnection, reason
from roost.backend.store.postgres.schema import function_schema, prepare
from roost.backend.store.refusals import refused
from roost.backend.store.statements import load
from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError, Unavailable
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

CALL_S = 2.0
"""The server itself cancels a call after 1 s (P18); this timeout is for a server that does not answer at all."""
PART_S = 5.0
PART_CONNECTIONS = 3
"""Concurrent calls that carry parts: some hundred MB/s, and under 1 MB of memory."""
SLOW_S = 300.0
"""Timeout (seconds) of a migration."""
AT_ONCE = 500
"""Most rows that one step of a tick ends or deletes: some 10 ms."""
STEPS = 4
"""Most steps of each kind in one tick: retention keeps up with 2,000 jobs/s for each lock server."""


class PostgresStore:
    """A `Store` in the database that `url` names: ``postgresql://user:password@host:port,host:port/name``."""

    def __init__(self, url: str, limits: StoreLimits | None = None) -> None:
        self._limits = limits or StoreLimits()
        self._limits_row = row_codec.limits_row(self._limits)
        self._sql = load("postgres/calls.sql")
        self._address = Address(url)
        self._decisions, self._renewals, self._polls, self._time = (
            DedicatedConnection(self._address, CALL_S) for _ in range(4)
        )
        self._gateways = DedicatedConnection(self._address, CALL_S)
        self._parts = [DedicatedConnection(self._address, PART_S) for _ in range(PART_CONNECTIONS)]
        self._is_open = False

    async def start(self) -> None:
        opening = DedicatedConnection(self._address, SLOW_S)
        try:
            await opening.run(lambda connection: prepare(connection, self._limits.retention_s))
        finally:
            await opening.stop()
        try:
            await self._time.fetch(self._sql["tick"], self._limits_row)
        except BaseException:
            await self.stop()
            raise
        self._is_open = True

    async def stop(self) -> None:
        self._is_open = False
        for connection in (self._decisions, self._renewals, self._gateways, self._polls, self._time, *self._parts):
            await connection.stop()

    async def decide(self, decisions: list[Decision]) -> list[Answer]:
        try:
            return await self._decide(self._open(self._decisions).fetch, decisions)
        except DATA_ERRORS:
            return await self._open(self._decisions).run(lambda connection: self._decide_singly(connection, decisions))

    async def _decide(self, fetch: Any, decisions: Sequence[Decision]) -> list[Answer]:
        values = row_codec.Commands.of(decisions).values
        (found,) = await fetch(self._sql["decide"], *values, self._limits_row)
        return row_codec.answers(decisions, found, self._limits.lease_s)

    async def _decide_singly(self, connection: Any, decisions: Sequence[Decision]) -> list[Answer]:
        """Make the decisions in one transaction, each in its own savepoint (P19)."""
        answers: list[Answer] = []
        async with connection.transaction():
            for decision in decisions:
                try:
                    async with connection.transaction():
                        answers += await self._decide(connection.fetch, [decision])
                except DATA_ERRORS as problem:
                    answers.append(refused(decision, reason(problem)))
        return answers

    async def beat(self, renewals: list[LeaseRenewal]) -> list[LeaseAnswer]:
        connection = self._open(self._renewals)
        try:
            return await self._renew(connection, renewals)
        except DATA_ERRORS:
            return [await self._renew_alone(connection, renewal) for renewal in renewals]

    async def _renew(self, connection: DedicatedConnection, renewals: list[LeaseRenewal]) -> list[LeaseAnswer]:
        rows = await connection.fetch(
            self._sql["renew"], list(map(row_codec.lease_renewal, renewals)), self._limits_row
        )
        answers = [LeaseAnswer(Verdict.LOST) for _ in renewals]
        for row in rows:
            index = row["place"] - 1
            if answers[index].verdict is Verdict.LOST:
                answers[index] = LeaseAnswer(Verdict.CANCEL if row["is_cancelled"] else Verdict.OK, [])
            if row["client"] is not None:
                answers[index].watchers.append(row_codec.request_ref(row))
        return answers

    async def _renew_alone(self, connection: DedicatedConnection, renewal: LeaseRenewal) -> LeaseAnswer:
        """Renew one lease. LOST if its values cannot be stored, because no job has such a number (P19)."""
        try:
            return (await self._renew(connection, [renewal]))[0]
        except DATA_ERRORS:
            return LeaseAnswer(Verdict.LOST)

    async def put_part(self, part: PutPart) -> Verdict:
        values = (part.job, part.token, part.seq, part.data)
        ((is_stored,),) = await self._call(self._part_connection(), "put_part", *values)
        return Verdict.OK if is_stored else Verdict.LOST

    async def read_parts(self, wanted: ReadParts) -> list[bytes]:
        values = (wanted.job, wanted.token, wanted.first, wanted.count, self._limits_row)
        return [row["data"] for row in await self._call(self._part_connection(), "read_parts", *values)]

    async def sweep(self, poll: GatewayPoll) -> FinishedRequests:
        await self._call(self._open(self._gateways), "see_gateway", poll.gateway, self._limits_row)
        return row_codec.finished_requests(
            await self._call(self._open(self._polls), "sweep", poll.gateway, self._limits_row)
        )

    async def _call(self, connection: DedicatedConnection, name: str, *values: object) -> list[Any]:
        """Run a named statement. Raises DecodeError for values that the database does not accept."""
        try:
            return await connection.fetch(self._sql[name], *values)
        except DATA_ERRORS as problem:
            raise DecodeError(ErrorCode.BAD_MESSAGE, reason(problem)) from problem

    async def waiting_count(self, most: int) -> int:
        ((count,),) = await self._open(self._time).fetch(self._sql["waiting_count"], most)
        return int(count)

    async def tick(self) -> None:
        connection = self._open(self._time)
        await connection.fetch(self._sql["tick"], self._limits_row)
        await connection.fetch(self._sql["use_functions"], function_schema())
        await self._in_steps(connection, "end_overdue", AT_ONCE)
        await self._in_steps(connection, "leave_detached", AT_ONCE)
        await self._in_steps(connection, "leave_dead_gateways", AT_ONCE, SEARCH_AGAIN_S)
        await self._in_steps(connection, "delete_old", AT_ONCE)

    async def _in_steps(self, connection: DedicatedConnection, name: str, *values: object) -> None:
        """Repeat a statement, at most `STEPS` times, while it processes as many rows as one step may."""
        for _ in range(STEPS):
            ((done,),) = await connection.fetch(self._sql[name], *values, self._limits_row)
            if done < AT_ONCE:
                return

    def _open(self, connection: DedicatedConnection) -> DedicatedConnection:
        if not self._is_open:
            raise Unavailable("store", "not open")
        return connection

    def _part_connection(self) -> DedicatedConnection:
        return self._open(min(self._parts, key=lambda connection: connection.waiting_count))
