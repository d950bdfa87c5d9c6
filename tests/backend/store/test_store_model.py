"""The store against a model that knows only the protocol: any order of offers, grants, beats, endings and absences.

The model remembers what was said and answered, nothing of how the store works. Messages may come late: an offer, an
attach or a detach of a connection that has long been replaced, a write under a token that is no longer current.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from roost.backend.jobs import TAKEN_ENDING
from roost.backend.store.port import LEASE_S, Store, StoreLimits
from roost.backend.store.postgres.postgres_store import PostgresStore
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.messages.lock import (
    Acknowledge,
    Acquire,
    Acquired,
    Attach,
    CancelRequest,
    Complete,
    Completed,
    Decision,
    Detach,
    GatewayPoll,
    Grant,
    LeaseRenewal,
    Offer,
    PutPart,
    Refused,
    Release,
    RequestRef,
    RequestState,
    RequestStatus,
    Statuses,
    Verdict,
)
from roost.wire.messages.outcome import Ending, Outcome
from tests.backend.store.database import DatabaseClock, shared_url
from tests.clock import ManualClock

T = TypeVar("T")
Who = tuple[bytes, str]

CLIENTS = [bytes([number]) * 16 for number in range(3)]
GATEWAYS = ["g1", "g2"]
LIMITS = StoreLimits(live_requests=2, grace_s=20.0)
STEP_S = 2.0
SOON_S = 3600.0
FIRST_EPOCH = 3
"""So that there may be late messages from the start."""


@dataclass
class Request:
    """What one client was told about one of its requests, and where it was last."""

    epoch: int
    gateway: str
    spec: bytes | None = None
    is_away: bool = False
    was_away: bool = False
    is_given_up: bool = False
    is_acknowledged: bool = False
    job: int = 0
    ending: Ending | None = None


class StoreModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock, self.store = self.run(self.open())
        self.epochs = dict.fromkeys(CLIENTS, FIRST_EPOCH)
        self.requests: dict[Who, Request] = {}
        self.grants: list[Grant] = []
        self.tokens: dict[int, int] = {}
        self.leases: dict[int, float] = {}
        self.committed: dict[int, Complete] = {}
        self.nonces = 0

    async def open(self) -> tuple[ManualClock, Store]:
        """An empty store and its time."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing of it stays."""
        await self.store.stop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def decide(self, decision: Decision) -> Any:
        answer = self.run(self.store.decide([decision]))[0]
        assert not isinstance(answer, Refused), answer
        return answer

    def teardown(self) -> None:
        self.finish()
        self.run(self.close())
        self.runner.close()

    # --- what clients and gateways do ------------------------------------------------------------

    clients = st.sampled_from(CLIENTS)
    names = st.sampled_from(["r1", "r2", "r3"])
    gateways = st.sampled_from(GATEWAYS)
    lateness = st.integers(0, 2)

    @rule(client=clients)
    def reconnect(self, client: bytes) -> None:
        self.epochs[client] += 1

    @rule(
        asks=st.lists(st.tuples(clients, names, st.sampled_from([b"x", b"y"]), gateways, lateness), max_size=3),
        slots=st.integers(0, 2),
        master=st.sampled_from(["m1", "m2"]),
        fresh_s=st.sampled_from([0.0, 5.0, 300.0]),
    )
    def acquire(self, asks: list[tuple[bytes, str, bytes, str, int]], slots: int, master: str, fresh_s: float) -> None:
        offers = []
        for client, request, spec, gateway, late in asks:
            epoch = self.epochs[client] - late
            offers.append(Offer(client, request, gateway, epoch, "kind", spec, spec, fresh_s, SOON_S))
            self.offered(client, request, spec, gateway, epoch)
        self.nonces += 1
        answer: Acquired = self.decide(Acquire(master, self.nonces.to_bytes(16, "big"), slots, offers))
        assert len(answer.grants) <= slots
        for grant in answer.grants:
            self.granted(grant)
        for knock in answer.ended:
            for who in knock.requests:
                self.told(who, knock.ending)

    def offered(self, client: bytes, request: str, spec: bytes, gateway: str, epoch: int) -> None:
        known = self.requests.setdefault((client, request), Request(epoch, gateway))
        if known.spec is None and not known.is_given_up:  # what was given up beforehand is the same whatever it was
            known.spec = spec
        if known.spec in (None, spec) and not known.is_acknowledged and epoch > known.epoch:
            known.epoch, known.gateway, known.is_away = epoch, gateway, False

    @rule(client=clients, request=names, gateway=gateways, late=lateness)
    def attach(self, client: bytes, request: str, gateway: str, late: int) -> None:
        epoch = self.epochs[client] - late
        known = self.requests.setdefault((client, request), Request(epoch, gateway))
        if epoch >= known.epoch:
            known.epoch, known.gateway, known.is_away = epoch, gateway, False
        self.answered(client, self.decide(Attach(client, epoch, gateway, [request])))

    @rule(client=clients, gateway=gateways, late=lateness)
    def detach(self, client: bytes, gateway: str, late: int) -> None:
        epoch = self.epochs[client] - late
        self.decide(Detach(gateway, [client], epoch))
        for (owner, _), known in self.requests.items():
            if owner == client and known.gateway == gateway and known.epoch <= epoch:
                known.is_away = known.was_away = True

    @rule(client=clients, request=names)
    def withdraw(self, client: bytes, request: str) -> None:
        self.requests.setdefault((client, request), Request(0, "")).is_given_up = True
        self.answered(client, self.decide(CancelRequest(client, request)))

    @rule(client=clients, request=names)
    def acknowledge(self, client: bytes, request: str) -> None:
        known = self.requests.setdefault((client, request), Request(0, ""))
        known.is_given_up = known.is_acknowledged = True
        self.answered(client, self.decide(Acknowledge(client, request)))

    @rule(gateway=gateways)
    def sweep(self, gateway: str) -> None:
        for knock in self.run(self.store.sweep(GatewayPoll(gateway))).knocks:
            for who in knock.requests:
                assert self.requests[who].gateway == gateway
                assert not self.requests[who].is_away
                assert not self.requests[who].is_acknowledged
                self.told(who, knock.ending)

    # --- what masters do -------------------------------------------------------------------------

    chosen = st.integers(0, 1000)

    @precondition(lambda self: self.grants)
    @rule(chosen=chosen, level=st.integers(0, 3))
    def beat(self, chosen: int, level: int) -> None:
        grant = self.grants[chosen % len(self.grants)]
        (answer,) = self.run(self.store.beat([LeaseRenewal(grant.job, grant.token, level)]))
        if answer.verdict is not Verdict.LOST:
            self.must_be_current(grant)
            assert answer.verdict is Verdict.OK or not self.waiting_for(grant.job), "somebody still waits for it"
            self.leases[grant.job] = self.clock.wall() + LEASE_S
            self.watched(grant, answer.watchers)

    @precondition(lambda self: self.grants)
    @rule(chosen=chosen, seq=st.integers(0, 2))
    def put_part(self, chosen: int, seq: int) -> None:
        grant = self.grants[chosen % len(self.grants)]
        if self.run(self.store.put_part(PutPart(grant.job, grant.token, seq, b"part"))) is Verdict.OK:
            self.must_be_current(grant)

    @precondition(lambda self: self.grants)
    @rule(chosen=chosen, outcome=st.sampled_from(Outcome))
    def complete(self, chosen: int, outcome: Outcome) -> None:
        grant = self.grants[chosen % len(self.grants)]
        done = Complete(grant.job, grant.token, Ending(outcome, summary=grant.spec + b"%d" % grant.token))
        answer = self.run(self.store.decide([done]))[0]
        if isinstance(answer, Refused):
            assert grant.job not in self.leases, "only a job that was given back refuses its own token"
            return
        assert isinstance(answer, Completed)
        if answer.verdict is Verdict.OK:
            assert self.tokens[grant.job] == grant.token
            first = self.committed.setdefault(grant.job, done)
            assert first.token == grant.token, "one token commits"
            self.watched(grant, answer.watchers)

    @precondition(lambda self: self.grants)
    @rule(chosen=chosen)
    def release(self, chosen: int) -> None:
        grant = self.grants[chosen % len(self.grants)]
        self.decide(Release(grant.job, grant.token))
        if self.tokens[grant.job] == grant.token:
            self.leases.pop(grant.job, None)

    @rule(steps=st.integers(1, 12))
    def pass_time(self, steps: int) -> None:
        for _ in range(steps):
            self.run(self.clock.advance(STEP_S))
            self.run(self.store.tick())
            for gateway in GATEWAYS:
                self.sweep(gateway)

    # --- what must hold --------------------------------------------------------------------------

    def granted(self, grant: Grant) -> None:
        assert grant.token > max(self.tokens.values(), default=0), "tokens only grow"
        assert grant.job not in self.committed, "what is over is not granted"
        assert self.leases.get(grant.job, 0.0) <= self.clock.wall(), "a lease that holds is nobody else's"
        self.tokens[grant.job] = grant.token
        self.leases[grant.job] = self.clock.wall() + LEASE_S
        self.grants.append(grant)
        self.watched(grant, grant.watchers)

    def must_be_current(self, grant: Grant) -> None:
        assert self.tokens[grant.job] == grant.token
        assert grant.job not in self.committed

    def watched(self, grant: Grant, watchers: list[RequestRef]) -> None:
        """They asked for this very thing, are where they were last, and nobody who is there is missing."""
        for watcher in watchers:
            known = self.requests[watcher.client, watcher.request]
            assert (known.spec, known.gateway) == (grant.spec, watcher.gateway)
            assert not known.is_away
            assert not known.is_acknowledged
            known.job = grant.job
        for who in self.waiting_for(grant.job):
            assert RequestRef(*who, self.requests[who].gateway, False) in watchers

    def waiting_for(self, job: int) -> list[Who]:
        """Requests that surely wait for the job: never given up, never away."""
        return [
            who
            for who, known in self.requests.items()
            if known.job == job and not (known.is_given_up or known.was_away or known.ending)
        ]

    def answered(self, client: bytes, statuses: Statuses) -> None:
        for status in statuses.requests:
            self.stated((client, status.request), status)

    def stated(self, who: Who, status: RequestStatus) -> None:
        known = self.requests[who]
        known.job = status.job or known.job
        assert (status.state is RequestState.EXPIRED) == known.is_acknowledged
        if status.ending is not None:
            self.told(who, status.ending)
        elif status.state is RequestState.WAITING:
            assert known.ending is None, "an ending stays"
            assert status.job not in self.committed, "who waits for a job that is over is told"

    def told(self, who: Who, ending: Ending) -> None:
        """How a request ended: always the same, and from a run of its own spec."""
        known = self.requests[who]
        if ending == TAKEN_ENDING:
            return
        assert known.ending in (None, ending)
        if ending.outcome is Outcome.CANCELLED and not ending.summary:
            assert known.is_given_up or known.was_away, "nobody cancels for another"
        known.ending = ending
        if ending.summary:
            assert known.spec is not None
            assert ending.summary == known.spec + b"%d" % ending.token
            assert any(done.token == ending.token for done in self.committed.values())

    def finish(self) -> None:
        """I1: whatever was stored and is not acknowledged ends, once a master goes on with the work."""
        for _ in range(12):
            self.acquire([], 2, "m3", 0.0)
            for chosen, grant in enumerate(self.grants):
                if self.tokens[grant.job] == grant.token and grant.job not in self.committed:
                    self.complete(chosen, Outcome.DONE)
            self.pass_time(2)
        for (client, request), known in self.requests.items():
            if known.spec is not None:
                self.attach(client, request, GATEWAYS[0], 0)
                assert known.ending is not None or known.is_acknowledged


class SqliteModel(StoreModel):
    async def open(self) -> tuple[ManualClock, Store]:
        clock = ManualClock()
        store = SqliteStore(":memory:", LIMITS, clock)
        await store.start()
        return clock, store


class PostgresModel(StoreModel):
    async def open(self) -> tuple[ManualClock, Store]:
        clock = DatabaseClock()
        await clock.start()
        store = PostgresStore(shared_url(), LIMITS)
        await store.start()
        return clock, store

    async def close(self) -> None:
        await super().close()
        assert isinstance(self.clock, DatabaseClock)
        await self.clock.stop()


TestSqliteModel = pytest.mark.slow(SqliteModel.TestCase)
TestSqliteModel.settings = settings(max_examples=80, stateful_step_count=40)
TestPostgresModel = pytest.mark.engines(PostgresModel.TestCase)
TestPostgresModel.settings = settings(max_examples=12, stateful_step_count=40)
"""A call takes ten times as long as in memory."""
