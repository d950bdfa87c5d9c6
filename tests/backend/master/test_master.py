"""A master between a real lock server and the embedded broker; the tests are its workers, its gateway and its clock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.support.steps_kind import Steps, StepsPlan, StepsSpec
from roost.backend.broker import topology
from roost.backend.broker.memory.memory_broker import MemoryBroker
from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.kinds.registry import Kinds
from roost.backend.lock.client import LockClient
from roost.backend.lock.server import LockServer
from roost.backend.master import job_runner as driver
from roost.backend.master.job_runner import STUCK_S
from roost.backend.master.master import RENEWAL_S, Master, MasterSettings
from roost.backend.store.port import ALONE_FROM, LEASE_S
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.auth import NO_SECRET
from roost.wire.codec import pack
from roost.wire.errors import Misuse
from roost.wire.messages.lock import (
    Acquire,
    Acquired,
    Answer,
    Decision,
    Grant,
    JobFinished,
    LeaseAnswer,
    LeaseRenewal,
    Offer,
    Release,
    Verdict,
    read_offer,
)
from roost.wire.messages.outcome import Outcome
from roost.wire.messages.work import Task, TaskResult, read_gateway_event, read_task
from tests.backend.broker.contract_broker import Inbox
from tests.clock import ManualClock
from tests.system.cluster import until

ANN = b"a" * 16
GATEWAY = "g1"
TRUST_S = 5.0


class MasterFixture:
    """One master with two slots, and everything it talks to."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "jobs.db")
        self.clock = ManualClock()
        self.steps = Steps()
        self.server = MemoryBroker(self.clock)
        self.outside, self.own = self.server.connect(), self.server.connect()
        self.tasks, self.mail = Inbox(), Inbox()
        self.addresses: list[str] = []
        self.bugs: list[Exception] = []
        self.locks = LockClient(self.look_up, NO_SECRET)
        settings = MasterSettings("m1", slots=2)
        self.master = Master(settings, self.own, MemoryCache(), self.locks, Kinds([self.steps]), self.clock)

    def look_up(self) -> list[str]:
        if self.bugs:
            raise self.bugs.pop()
        return self.addresses

    async def start(self) -> None:
        await self.open_lock()
        await self.outside.start()
        await self.own.start()
        await self.locks.start()
        await self.master.start()
        await self.outside.consume(topology.tasks("steps").name, self.tasks, 100)
        await self.outside.declare(topology.gateway_events(GATEWAY))
        await self.outside.consume(topology.gateway_events(GATEWAY).name, self.mail, 100)

    async def open_lock(self) -> None:
        self.lock = LockServer(SqliteStore(self.path, clock=self.clock), NO_SECRET, clock=self.clock)
        await self.lock.start()
        self.addresses[:] = [f"http://127.0.0.1:{self.lock.port}"]

    async def stop(self) -> None:
        await self.master.stop()
        await self.master.stop()
        await self.locks.stop()
        await self.lock.stop()
        await self.own.stop()
        await self.outside.stop()

    def offer(self, request: str = "r1", kind: str = "steps", **spec: object) -> Offer:
        packed = self.steps.pack_spec(StepsSpec(**spec))  # type: ignore[arg-type]
        return Offer(ANN, request, GATEWAY, 1, kind, packed, packed, 60.0, 3600.0)

    async def submit(self, offer: Offer, queue: str = "jobs.assigned") -> None:
        await self.outside.publish(queue, pack(offer))

    async def task(self) -> Task:
        delivery = await self.tasks.next()
        delivery.acknowledge()
        return read_task(delivery.body)

    async def answer(self, task: Task, data: bytes = b"done", queue: str = "") -> None:
        await self.outside.publish(queue or task.reply_to, pack(TaskResult(task.job, task.token, task.task, data)))

    async def job_finished(self) -> JobFinished:
        delivery = await self.mail.next()
        delivery.acknowledge()
        mail = read_gateway_event(delivery.body)
        assert isinstance(mail, JobFinished)
        return mail


@pytest.fixture
async def masters(tmp_path: Path) -> AsyncIterator[MasterFixture]:
    masters = MasterFixture(tmp_path)
    await masters.start()
    yield masters
    await masters.stop()


async def test_p13_without_trust_nothing_is_published_and_with_it_again_the_job_goes_on(masters: MasterFixture) -> None:
    await masters.submit(masters.offer(levels=2))
    first = await masters.task()
    await masters.lock.stop()
    await masters.clock.advance(TRUST_S)
    await masters.answer(first)
    await masters.clock.settle()
    assert masters.master._runners[first.job].run.plan.progress().level == 1, "the result is folded all the same"
    assert masters.tasks.bodies() == [pack(first)]
    await masters.open_lock()
    second = asyncio.create_task(masters.task())
    while not second.done():
        await masters.clock.advance(RENEWAL_S)
        await asyncio.wait((second,), timeout=0.1)
    await masters.answer(second.result())
    assert (await masters.job_finished()).ending.outcome is Outcome.DONE


async def test_p13_trust_runs_from_before_the_send_however_long_the_answers_take(
    masters: MasterFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a grant, and of a beat: another may have the job a lease after the store wrote it, not after we read it."""
    on_the_way_s = 3.0
    decide, beat = masters.locks.decide, masters.locks.beat

    async def decide_slowly(decisions: list[Decision]) -> list[Answer]:
        answers = await decide(decisions)
        masters.clock.stand_still(on_the_way_s)
        return answers

    async def beat_slowly(beats: list[LeaseRenewal]) -> list[LeaseAnswer]:
        answers = await beat(beats)
        masters.clock.stand_still(on_the_way_s)
        return answers

    monkeypatch.setattr(masters.locks, "decide", decide_slowly)
    monkeypatch.setattr(masters.locks, "beat", beat_slowly)
    asked_at = masters.clock.monotonic()
    await masters.submit(masters.offer())
    driver = masters.master._runners[(await masters.task()).job]
    assert driver.run.is_trusted(asked_at + TRUST_S - 0.1)
    assert not driver.run.is_trusted(asked_at + TRUST_S)
    beaten_at = masters.clock.monotonic()
    await masters.master._renew_leases([driver])
    assert driver.run.is_trusted(beaten_at + TRUST_S - 0.1)
    assert not driver.run.is_trusted(beaten_at + TRUST_S)


async def test_p7_an_offer_that_no_lock_server_has_answered_for_stays_with_the_broker(masters: MasterFixture) -> None:
    await masters.lock.stop()
    await masters.submit(masters.offer())
    await until(lambda: masters.master._acquirer._missed_count > 0)
    await masters.master.stop()
    await masters.own.stop()
    offers = Inbox()
    await masters.outside.consume("jobs.assigned", offers, 1)
    delivery = await offers.next()
    assert read_offer(delivery.body) == masters.offer()


async def test_an_error_of_any_kind_ends_neither_intake_nor_beats(masters: MasterFixture) -> None:
    masters.bugs += [KeyError("a bug")]
    await masters.submit(masters.offer())
    await until(lambda: not masters.bugs)
    await masters.clock.advance(1.0)
    task = await masters.task()
    masters.bugs += [KeyError("a bug")]
    await masters.clock.advance(RENEWAL_S)
    await until(lambda: not masters.bugs)
    await masters.clock.advance(RENEWAL_S)
    run = masters.master._runners[task.job].run
    await until(lambda: run.is_trusted(masters.clock.monotonic() + TRUST_S - RENEWAL_S))
    await masters.answer(task)
    assert (await masters.job_finished()).ending.outcome is Outcome.DONE


async def test_rubbish_in_its_queues_and_answers_that_come_twice_harm_nothing(masters: MasterFixture) -> None:
    for queue in ("jobs.assigned", "jobs.dead", "tasks.dead", "reply.m1"):
        await masters.outside.publish(queue, b"\xc1 rubbish")
    await masters.outside.broadcast(topology.CONTROL, b"\xc1 rubbish")
    await masters.submit(masters.offer(width=2))
    tasks = [await masters.task(), await masters.task()]
    for task in (*tasks, *tasks):
        await masters.answer(task)
    told = await masters.job_finished()
    assert (told.ending.outcome, told.ending.parts, told.requests) == (
        Outcome.DONE,
        1,
        [(ANN, "r1")],
    )
    assert told.only_part is not None


@pytest.mark.parametrize(("kind", "spec"), [("bake", {}), ("steps", {"behave": "bad plan"})])
async def test_i1_a_job_that_cannot_be_planned_has_an_outcome(
    masters: MasterFixture, kind: str, spec: dict[str, str]
) -> None:
    await masters.submit(masters.offer(kind=kind, **spec))
    assert (await masters.job_finished()).ending.outcome is Outcome.FAILED


async def test_a_result_that_its_plan_cannot_bear_fails_that_job_once(masters: MasterFixture) -> None:
    await masters.submit(masters.offer("r1", behave="bad fold"))
    await masters.answer(await masters.task())
    assert (await masters.job_finished()).ending.outcome is Outcome.FAILED
    assert await masters.outside.depth("reply.m1") == 0


async def test_p21_a_task_that_no_worker_survived_is_tried_alone_once_and_then_given_up(masters: MasterFixture) -> None:
    await masters.submit(masters.offer())
    task = await masters.task()
    for _ in range(2):  # dead letters come at least once
        await masters.outside.publish("tasks.dead", pack(task))
    again = await masters.task()
    assert (task.alone, again) == (False, replace(task, alone=True))
    await masters.outside.publish("tasks.dead", pack(again))
    told = await masters.job_finished()
    assert told.ending.outcome is Outcome.DONE
    assert told.only_part is not None
    assert b"no worker survived it" in told.only_part


async def test_p23_a_plan_knows_since_when_its_job_runs_also_at_another_master(masters: MasterFixture) -> None:
    begun = masters.clock.wall()
    known: list[float] = []
    really = masters.steps.plan

    def plan(spec: StepsSpec, since: float) -> StepsPlan:
        known.append(since)
        return really(spec, since)

    masters.steps.plan = plan  # type: ignore[method-assign]
    await masters.submit(masters.offer(levels=2))
    task = await masters.task()
    await masters.clock.advance(2.0)
    await masters.locks.decide([Release(task.job, task.token)])
    asking = 0
    decide = masters.locks.decide

    async def counted(decisions: list[Decision]) -> list[Answer]:
        nonlocal asking
        asking += 1
        try:
            return await decide(decisions)
        finally:
            asking -= 1

    masters.locks.decide = counted  # type: ignore[method-assign]
    while len(known) < 2:
        if not asking:  # else a slow answer would take seconds of this clock, and make `since` as inexact
            await masters.clock.advance(0.1)
        await asyncio.sleep(0.01)
    assert known == pytest.approx([begun, begun], abs=0.5)


async def test_a_plan_that_had_no_time_to_find_a_task_is_asked_again_at_once(
    masters: MasterFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "LOOK_S", 3600.0)
    really, calls = StepsPlan.next_tasks, count()
    monkeypatch.setattr(StepsPlan, "next_tasks", lambda plan, room: really(plan, room) if next(calls) > 20 else [])
    await masters.submit(masters.offer())
    await masters.answer(await masters.task())
    assert (await masters.job_finished()).ending.outcome is Outcome.DONE


async def test_p6_offers_that_the_store_has_no_room_for_wait_at_the_broker(masters: MasterFixture) -> None:
    masters.lock._max_waiting = 0
    await masters.clock.advance(1.0)
    await until(lambda: masters.lock._is_full)
    await masters.submit(masters.offer())
    for _ in range(5):
        await masters.clock.advance(1.0)
        await asyncio.sleep(0.01)
    assert masters.master.running() == 0
    masters.lock._max_waiting = 100
    task = asyncio.create_task(masters.task())
    while not task.done():
        await masters.clock.advance(1.0)
        await asyncio.wait((task,), timeout=0.05)
    await masters.answer(task.result())
    assert (await masters.job_finished()).ending.outcome is Outcome.DONE


async def test_p17_a_job_that_hangs_loses_its_lease_and_another_master_gets_it(masters: MasterFixture) -> None:
    hangs = asyncio.Event()
    really = masters.own.publish

    async def publish(queue: str, body: bytes) -> None:
        if queue.startswith("tasks."):
            await hangs.wait()
        await really(queue, body)

    masters.own.publish = publish  # type: ignore[method-assign]
    await masters.submit(masters.offer())
    await until(lambda: masters.master.running() == 1)
    (job,) = masters.master._runners
    begun = masters.clock.monotonic()
    while masters.master.running():
        await masters.clock.advance(RENEWAL_S)
        await asyncio.sleep(0.01)
    assert masters.clock.monotonic() - begun >= STUCK_S
    await masters.master.drain()  # so that it does not ask for the job again
    grants: list[Grant] = []
    while not grants:
        await masters.clock.advance(1.0)
        (other,) = await masters.locks.decide([Acquire("m2", secrets.token_bytes(16), 1, [])])
        assert isinstance(other, Acquired)
        grants = other.grants
    assert [grant.job for grant in grants] == [job]


async def test_p17_a_master_that_stood_still_has_not_hung(masters: MasterFixture) -> None:
    await masters.submit(masters.offer())
    task = await masters.task()
    masters.clock.stand_still(2 * STUCK_S)
    masters.master._drop_stuck()
    assert masters.master.running() == 1
    await masters.answer(task)
    assert (await masters.job_finished()).ending.outcome is Outcome.DONE


async def test_p16_a_job_granted_during_the_drain_is_given_back(masters: MasterFixture) -> None:
    ask = Acquire("m1", b"n" * 16, 1, [masters.offer()])
    (granted,) = await masters.locks.decide([ask])
    assert isinstance(granted, Acquired)
    (grant,) = granted.grants
    await masters.master.drain()
    masters.master._on_grant(grant, masters.clock.monotonic())
    assert masters.master.running() == 0
    await until(lambda: not masters.master._tasks)
    (other,) = await masters.locks.decide([Acquire("m2", b"o" * 16, 1, [])])
    assert isinstance(other, Acquired)
    assert [each.job for each in other.grants] == [grant.job]


async def test_p16_a_master_takes_nothing_beside_a_job_that_others_have_died_under(masters: MasterFixture) -> None:
    free = masters.master.free_slots()
    grant = Grant(7, 1, "steps", masters.offer().spec, LEASE_S, ALONE_FROM - 1, 60.0, [])
    masters.master._on_grant(grant, masters.clock.monotonic())
    assert masters.master.free_slots() == free - 1
    masters.master._on_grant(replace(grant, token=2, attempt=ALONE_FROM), masters.clock.monotonic())
    assert masters.master.free_slots() == 0


async def test_drain_waits_for_what_is_being_stored_and_gives_back_the_rest(masters: MasterFixture) -> None:
    await masters.submit(masters.offer("r1", levels=2))
    task = await masters.task()
    await masters.master.drain()
    assert masters.master.running() == 0
    (answer,) = await masters.locks.beat([LeaseRenewal(task.job, task.token)])
    assert answer.verdict is Verdict.LOST
    await masters.answer(task)
    await masters.clock.settle()
    assert masters.master.ended_count == 0


async def test_a_master_without_slots_is_refused() -> None:
    with pytest.raises(Misuse):
        MasterSettings("m1", slots=0)
