"""What several lock servers do to one PostgreSQL at the same time, and what it does to their data."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from roost.backend.store.port import LEASE_S, StoreLimits
from roost.backend.store.postgres.postgres_store import PostgresStore
from roost.backend.store.postgres.schema import search_path
from roost.wire.errors import BadInput, Unavailable
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
    LeaseRenewal,
    PutPart,
    Refused,
    RequestState,
    Statuses,
    Verdict,
)
from roost.wire.messages.outcome import Outcome
from tests.backend.store.contract_store import ANN, BOB, DONE, Desk, offer
from tests.backend.store.database import DatabaseClock, NewStore, clients, shared_url

pytestmark = pytest.mark.engines


@pytest.fixture
async def clock() -> AsyncIterator[DatabaseClock]:
    clock = DatabaseClock()
    await clock.start()
    yield clock
    await clock.stop()


@pytest.fixture
async def stores(clock: DatabaseClock, new_store: NewStore) -> list[PostgresStore]:
    """Two lock servers' stores over one database whose time stands still."""
    stores = [new_store(shared_url()) for _ in range(2)]
    for store in stores:
        await store.start()
    return stores


# --- several lock servers at the same time -----------------------------------------------------------


async def together(stores: list[PostgresStore], batches: list[list[Decision]]) -> list[Answer]:
    """All batches at once, by turns over the stores; the answers in order. What went away is asked again."""

    async def decide(number: int, batch: list[Decision]) -> list[Answer]:
        for _ in range(10):
            try:
                return await stores[number % len(stores)].decide(batch)
            except Unavailable:
                continue
        raise AssertionError("never answered")

    answers = await asyncio.gather(*(decide(number, batch) for number, batch in enumerate(batches)))
    return [answer for some in answers for answer in some]


async def test_p5_masters_that_ask_at_once_are_never_granted_the_same_job(stores: list[PostgresStore]) -> None:
    await stores[0].decide([Acquire("m0", b"0" * 16, 0, [offer(who, run=who) for who in clients(200)])])
    asks: list[list[Decision]] = [[Acquire(f"m{n}", n.to_bytes(16, "big"), 10)] for n in range(1, 41)]
    answers = await together(stores, asks)
    rest = await stores[0].decide([Acquire("m0", b"9" * 16, 1000)])
    granted = [grant for answer in (*answers, *rest) if isinstance(answer, Acquired) for grant in answer.grants]
    assert len(granted) == 200
    assert len({grant.job for grant in granted}) == 200
    assert len({grant.token for grant in granted}) == 200


async def test_p9_a_run_that_many_ask_for_at_once_is_started_once(
    stores: list[PostgresStore], new_store: NewStore
) -> None:
    runs = [b"run %d" % number for number in range(10)]
    batches: list[list[Decision]] = []
    for n, who in enumerate(clients(40)):
        offers = [offer(who, request=f"r{run!r}", run=run) for run in runs[:: 1 if n % 2 else -1]]
        batches.append([Acquire("m1", n.to_bytes(16, "big"), 0, offers)])
    limited = [new_store(shared_url(), StoreLimits(live_requests=10)) for _ in stores]
    for store in limited:
        await store.start()
    answers = await together(limited, batches)
    assert all(isinstance(answer, Acquired) and not answer.ended for answer in answers)
    (acquired,) = await limited[0].decide([Acquire("m1", b"n" * 16, 100)])
    assert isinstance(acquired, Acquired)
    assert len(acquired.grants) == len(runs)
    assert {len(grant.watchers) for grant in acquired.grants} == {40}


async def test_p10_a_clients_limit_holds_over_lock_servers(stores: list[PostgresStore]) -> None:
    batches: list[list[Decision]] = [
        [Acquire("m1", n.to_bytes(16, "big"), 0, [offer(who, request=f"r{n}", run=b"%d" % n + who) for who in order])]
        for n in range(8)
        for order in [clients(20)[:: 1 if n % 2 else -1]]
    ]
    answers = await together(stores, batches)
    refused = sum(len(knock.requests) for answer in answers if isinstance(answer, Acquired) for knock in answer.ended)
    (acquired,) = await stores[0].decide([Acquire("m1", b"n" * 16, 1000)])
    assert isinstance(acquired, Acquired)
    assert (len(acquired.grants), refused) == (20, 7 * 20)


async def test_p3_the_same_offer_through_several_lock_servers_is_one_request(stores: list[PostgresStore]) -> None:
    offers = [offer(who, run=who) for who in clients(50)]
    batches: list[list[Decision]] = [[Acquire("m1", n.to_bytes(16, "big"), 0, offers)] for n in range(6)]
    await together(stores, batches)
    (acquired,) = await stores[0].decide([Acquire("m1", b"n" * 16, 1000)])
    assert isinstance(acquired, Acquired)
    assert len(acquired.grants) == 50


async def test_batches_with_more_than_the_server_has_locks_for_are_decided_as_well(stores: list[PostgresStore]) -> None:
    crowd = clients(6000)
    batches: list[list[Decision]] = [
        [Acquire("m1", b"%16d" % turn, 0, [offer(who, run=who) for who in crowd[turn * 1000 : turn * 1000 + 1000]])]
        for turn in range(6)
    ]
    batches.append([Detach("g1", crowd)])
    await together(stores, batches)
    assert len((await Desk(stores[0]).acquire(slots=10_000)).grants) == len(crowd)


async def test_p11_a_job_that_ends_while_clients_come_and_go_leaves_nobody_untold(
    stores: list[PostgresStore],
) -> None:
    """Joining, cancelling, moving and completing race; whoever stays is told, and nobody waits for what is over."""
    crowd = clients(30)
    for turn in range(10):
        name = f"r{turn}"
        run = b"turn %d" % turn
        (first,) = await stores[0].decide([Acquire("m1", b"%16d" % turn, 1, [offer(crowd[0], name, run)])])
        assert isinstance(first, Acquired)
        (grant,) = first.grants
        batches: list[list[Decision]] = [
            [Acquire("m2", b"j%15d" % turn, 0, [offer(who, name, run)])] for who in crowd[1:]
        ]
        batches += ([CancelRequest(who, name)] for who in crowd[::3])
        batches += ([Attach(who, 5, "g2", [name])] for who in crowd[::2])
        batches.insert(len(batches) // 2, [Complete(grant.job, grant.token, DONE)])
        await together(stores, batches)
        again = await together(stores, [[Acquire("m3", b"again%11d" % turn, 50)]])
        for answer in again:
            assert isinstance(answer, Acquired)
            for more in answer.grants:
                await stores[0].decide([Complete(more.job, more.token, DONE)])
        for who in crowd:
            (status,) = await stores[1].decide([Attach(who, 9, "g3", [name])])
            assert isinstance(status, Statuses)
            assert status.requests[0].state is RequestState.ENDED


@asynccontextmanager
async def meanwhile(sql: str, *values: object) -> AsyncIterator[None]:
    """Somebody else's transaction has run this and has not ended."""
    other = await asyncpg.connect(shared_url(), server_settings={"search_path": search_path()})
    try:
        async with other.transaction():
            await other.execute(sql, *values)
            yield
    finally:
        await other.close()


async def test_p10_what_one_lock_server_counts_of_a_client_no_other_changes_meanwhile(
    stores: list[PostgresStore],
) -> None:
    ask = Acquire("m1", b"n" * 16, 1, [offer(ANN)])
    async with meanwhile("SELECT pg_advisory_xact_lock(key_space(), client_lock($1))", ANN):
        with pytest.raises(Unavailable):
            await stores[0].decide([ask])
        assert (await Desk(stores[1]).acquire(offer(BOB, run=b"bob"), slots=1)).grants
    (acquired,) = await stores[0].decide([ask])
    assert isinstance(acquired, Acquired)
    assert len(acquired.grants) == 1


async def test_p11_who_moves_a_request_waits_for_whoever_ends_its_job(stores: list[PostgresStore]) -> None:
    (grant,) = (await Desk(stores[0]).acquire(offer(ANN), slots=1)).grants
    attach = Attach(ANN, 5, "g2", ["r1"])
    async with meanwhile("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", grant.job):
        with pytest.raises(Unavailable):
            await stores[0].decide([attach])
    (status,) = await stores[0].decide([attach])
    assert isinstance(status, Statuses)
    assert status.requests[0].state is RequestState.WAITING


async def test_p14_one_of_the_writes_that_race_for_a_job_wins(
    stores: list[PostgresStore], clock: DatabaseClock
) -> None:
    """An old master completes, a new one takes over, a client cancels: the job ends once, under one token."""
    for turn in range(10):
        name = f"r{turn}"
        (first,) = await stores[0].decide([Acquire("m1", b"%16d" % turn, 1, [offer(ANN, name, b"%d" % turn)])])
        assert isinstance(first, Acquired)
        (grant,) = first.grants
        for _ in range(int(LEASE_S) + 1):
            await clock.advance(1.0)
            await stores[0].tick()
        batches: list[list[Decision]] = [
            [Acquire("m2", b"new%13d" % turn, 1)],
            [Complete(grant.job, grant.token, DONE)],
            [CancelRequest(ANN, name)],
        ]
        racing = asyncio.gather(*(store.tick() for store in stores))
        answers = await together(stores, batches[turn % 3 :] + batches[: turn % 3])
        (taken,) = (answer for answer in answers if isinstance(answer, Acquired))
        (done,) = (answer for answer in answers if isinstance(answer, Completed))
        await racing
        assert not (taken.grants and done.verdict is Verdict.OK)
        for more in taken.grants:
            (late,) = await stores[0].decide([Complete(more.job, more.token, DONE)])
            assert isinstance(late, Completed)
        (status,) = await stores[0].decide([Attach(ANN, 2, "g1", [name])])
        assert isinstance(status, Statuses)
        assert status.requests[0].state is RequestState.ENDED
        await stores[0].decide([Acknowledge(ANN, name)])


async def test_p28_what_somebody_else_is_busy_with_is_not_forgotten_under_them(
    stores: list[PostgresStore], clock: DatabaseClock
) -> None:
    """Its job's row is locked before it goes, and nobody waits for that lock."""
    desk = Desk(stores[0])
    grant = await desk.grant(offer())
    await desk.complete(grant)
    await clock.advance(StoreLimits().retention_s + 10)
    busy = await asyncpg.connect(shared_url(), server_settings={"search_path": search_path()})
    try:
        async with busy.transaction():
            await busy.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", grant.job)
            await desk.store.tick()
            assert await busy.fetchval("SELECT count(*) FROM jobs") == 1
        await desk.store.tick()
        assert await busy.fetchval("SELECT count(*) FROM jobs") == 0
    finally:
        await busy.close()


async def test_beats_parts_ticks_and_sweeps_beside_many_decisions_harm_none(stores: list[PostgresStore]) -> None:
    """Everything at once on the same jobs: nothing waits for itself in a circle, and every job is done in the end."""
    crowd = clients(120)

    async def master(number: int) -> int:
        """Jobs that it completed."""
        done = 0
        mine = crowd[number::4]
        (acquired,) = await together(stores[number % 2 :], [[_ask(number, mine)]])
        assert isinstance(acquired, Acquired)
        for grant in acquired.grants:
            store = stores[grant.job % 2]
            beats = [LeaseRenewal(other.job, other.token, 1) for other in reversed(acquired.grants)]
            await asyncio.gather(
                store.beat(beats),
                store.put_part(PutPart(grant.job, grant.token, 0, b"part")),
                store.tick(),
                store.sweep(GatewayPoll("g1")),
                store.decide([Detach("g1", mine[::-1], epoch=0)]),
            )
            (completed,) = await together([store], [[Complete(grant.job, grant.token, DONE)]])
            assert isinstance(completed, Completed)
            done += completed.verdict is Verdict.OK
        return done

    assert sum(await asyncio.gather(*map(master, range(4)))) == len(crowd)


def _ask(number: int, mine: list[bytes]) -> Decision:
    return Acquire(f"m{number}", b"%16d" % number, len(mine), [offer(who, run=who) for who in mine])


# --- data (P19) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        offer(BOB, request="nul \0"),
        offer(BOB, request="surrogate \ud800"),
        offer(BOB, gateway="nul \0"),
        offer(BOB, epoch=2**70),
        offer(BOB, request=random.Random(1).randbytes(5_000).hex()),
    ],
    ids=["nul", "surrogate", "nul in another field", "number too large", "name too long for an index"],
)
async def test_p19_what_cannot_be_stored_is_refused_and_harms_no_neighbour(
    stores: list[PostgresStore], bad: Any
) -> None:
    batch: list[Decision] = [
        Acquire("m1", b"1" * 16, 1, [offer(ANN, run=b"ann")]),
        Acquire("m1", b"2" * 16, 1, [bad]),
        Acquire("m1", b"3" * 16, 1, [offer(request="r2", client=b"d" * 16)]),
    ]
    first, refused, last = await stores[0].decide(batch)
    assert isinstance(first, Acquired)
    assert isinstance(last, Acquired)
    assert (len(first.grants), len(last.grants)) == (1, 1)
    assert isinstance(refused, Refused)


async def test_p19_a_beat_for_a_number_that_no_job_has_harms_no_other(stores: list[PostgresStore]) -> None:
    desk = Desk(stores[0])
    grant = await desk.grant(offer())
    answers = await desk.store.beat([LeaseRenewal(2**70, 1), LeaseRenewal(grant.job, grant.token)])
    assert [answer.verdict for answer in answers] == [Verdict.LOST, Verdict.OK]
    with pytest.raises(BadInput):
        await desk.store.sweep(GatewayPoll("nul \0"))
    with pytest.raises(BadInput):
        await desk.store.put_part(PutPart(2**70, 1, 0, b""))


async def test_to_say_nothing_is_answered_with_nothing(stores: list[PostgresStore]) -> None:
    assert await stores[0].decide([]) == []
    assert await stores[0].beat([]) == []
    assert await stores[0].decide([Detach("g1", []), Attach(ANN, 1, "g1", [])]) == [Statuses(), Statuses()]


async def test_binary_data_of_any_kind_comes_back_as_it_was(stores: list[PostgresStore]) -> None:
    everything = bytes(range(256)) * 5
    desk = Desk(stores[0])
    grant = await desk.grant(offer(spec=everything, run=everything))
    assert grant.spec == everything
    done = await desk.complete(grant, type(DONE)(Outcome.DONE, summary=everything))
    assert done.verdict is Verdict.OK
    status = await Desk(stores[1]).status()
    assert status.ending is not None
    assert status.ending.summary == everything


async def test_p30_time_goes_on_from_where_it_was_when_the_servers_clock_is_set_back(
    stores: list[PostgresStore], clock: DatabaseClock
) -> None:
    desk = Desk(stores[0])
    grant = await desk.grant(offer())
    clock.set_back(3600.0)
    await clock.advance(0.0)
    await desk.store.tick()
    assert (await desk.acquire(master="m2")).grants == []
    await desk.lose_lease(clock)
    (taken,) = (await desk.acquire(master="m2")).grants
    assert taken.token > grant.token
