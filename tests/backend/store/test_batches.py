"""A batch of decisions over PostgreSQL answers as the same decisions in order do over SQLite, however they are mixed.

Most of a batch is done in a few statements for all; this is what shows that nobody can tell. Jobs and tokens have other
numbers there, and who waits is told as of the end of the batch, so both are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.backend.store.port import LEASE_S, Store, StoreLimits
from roost.backend.store.postgres.postgres_store import PostgresStore
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.messages.lock import (
    Acknowledge,
    Acquire,
    Acquired,
    Answer,
    Attach,
    CancelRequest,
    Complete,
    Completed,
    Decision,
    Detach,
    GatewayPoll,
    Grant,
    Offer,
    Refused,
    Release,
    Statuses,
)
from roost.wire.messages.outcome import Ending, Outcome
from tests.backend.store.database import DatabaseClock, shared_url

pytestmark = pytest.mark.engines

LIMITS = StoreLimits(live_requests=2, grace_s=20.0)
CLIENTS = [bytes([number]) * 16 for number in range(6)]

clients = st.sampled_from(CLIENTS)
requests = st.sampled_from(["r1", "r2", "r3", "r4"])
gateways = st.sampled_from(["g1", "g2"])
epochs = st.integers(1, 4)
offers = st.builds(
    lambda client, request, gateway, epoch, run, fresh_s, priority: Offer(
        client, request, gateway, epoch, "kind", b"spec of " + run, run, fresh_s, 3600.0, priority
    ),
    *(clients, requests, gateways, epochs, st.binary(min_size=1, max_size=1), st.sampled_from([0.0, 300.0])),
    st.sampled_from([0, 0, 0, 1]),
)
acquires = st.builds(
    Acquire,
    master=st.sampled_from(["m1", "m2"]),
    nonce=st.integers(0, 40).map(lambda number: number.to_bytes(16, "big")),
    free_slots=st.integers(0, 3),
    offers=st.lists(offers, max_size=3),
)
asks = st.one_of(
    acquires,
    acquires,
    st.builds(Attach, clients, epochs, gateways, st.lists(requests, max_size=2)),
    st.builds(Acknowledge, clients, requests),
    st.builds(CancelRequest, clients, requests),
    st.builds(Detach, gateways, st.lists(clients, max_size=3), epochs),
)
chosen = st.integers(0, 1000)
held = st.one_of(
    st.tuples(st.just("complete"), chosen, st.sampled_from(Outcome)),
    st.tuples(st.just("release"), chosen, st.just(Outcome.DONE)),
)
"""What is said of a grant of an earlier batch."""
rounds = st.lists(
    st.tuples(st.lists(st.one_of(asks, held), min_size=1, max_size=8), st.sampled_from([0.0, 1.0, LEASE_S + 1])),
    min_size=1,
    max_size=8,
)


class Side:
    """One engine, and the grants it has given, in the same order as the other."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.grants: list[Grant] = []

    def decisions(self, batch: list[Any]) -> list[Decision]:
        return [decision for ask in batch if (decision := self._decision(ask)) is not None]

    def _decision(self, ask: Any) -> Decision | None:
        if not isinstance(ask, tuple):
            decision: Decision = ask
            return decision
        what, number, outcome = ask
        if not self.grants:
            return None
        grant = self.grants[number % len(self.grants)]
        if what == "release":
            return Release(grant.job, grant.token)
        return Complete(grant.job, grant.token, Ending(outcome, summary=b"%d" % number))

    def heard(self, answers: list[Answer]) -> list[Any]:
        """The answers without numbers that may differ."""
        known = len(self.grants)
        for answer in answers:
            if isinstance(answer, Acquired):
                self.grants += answer.grants
        assert len({grant.token for grant in self.grants[known:]}) <= len(self.grants) - known
        return [_plain(answer) for answer in answers]


def _plain(answer: Answer) -> Any:
    match answer:
        case Acquired(grants, ended):
            told = {
                (knock.gateway, who, knock.ending.outcome, knock.ending.summary)
                for knock in ended
                for who in knock.requests
            }
            return [(grant.kind, grant.spec, grant.attempt) for grant in grants], told
        case Completed(verdict, _):
            return verdict
        case Statuses(statuses):
            return [(s.request, s.state, s.ending and (s.ending.outcome, s.ending.summary)) for s in statuses]
        case Refused():
            return "refused"


class Table:
    """Both engines, at the same time of the same clock."""

    async def start(self) -> None:
        self.clock = DatabaseClock()
        await self.clock.start()
        self.database = PostgresStore(shared_url(), LIMITS)
        await self.database.start()

    async def stop(self) -> None:
        await self.database.stop()
        await self.clock.stop()

    async def play(self, script: list[tuple[list[Any], float]]) -> None:
        """The same script on both."""
        await self.clock.empty()
        file = SqliteStore(":memory:", LIMITS, self.clock)
        await file.start()
        await self.database.tick()
        sides = [Side(file), Side(self.database)]
        try:
            for batch, pause_s in script:
                answers = [side.heard(await side.store.decide(side.decisions(batch))) for side in sides]
                assert answers[0] == answers[1]
                await self._sweep(sides)
                await self._wait(sides, pause_s)
        finally:
            await file.stop()

    async def _sweep(self, sides: list[Side]) -> None:
        for gateway in ("g1", "g2"):
            swept = [await side.store.sweep(GatewayPoll(gateway)) for side in sides]
            found = [{(who, k.ending.outcome, k.ending.summary) for k in s.knocks for who in k.requests} for s in swept]
            assert found[0] == found[1]

    async def _wait(self, sides: list[Side], pause_s: float) -> None:
        steps = int(pause_s) or 1
        for _ in range(steps):
            await self.clock.advance(pause_s / steps)
            for side in sides:
                await side.store.tick()


@pytest.fixture(scope="module")
def table() -> Iterator[tuple[asyncio.Runner, Table]]:
    with asyncio.Runner() as runner:
        table = Table()
        runner.run(table.start())
        yield runner, table
        runner.run(table.stop())


@settings(max_examples=40)
@given(script=rounds)
def test_a_batch_is_decided_as_if_in_order(
    table: tuple[asyncio.Runner, Table], script: list[tuple[list[Any], float]]
) -> None:
    table[0].run(table[1].play(script))
