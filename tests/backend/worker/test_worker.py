"""A worker on the embedded broker: every task is answered, called off, or given to somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.support.steps_kind import Steps
from roost.backend.broker import topology
from roost.backend.broker.memory.memory_broker import MemoryBroker, MemoryConnection
from roost.backend.broker.port import Delivery
from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.kinds.api import RunnerTools
from roost.backend.kinds.registry import Kinds
from roost.backend.worker.worker import Worker, WorkerSettings
from roost.wire.codec import pack
from roost.wire.errors import Misuse
from roost.wire.messages.work import (
    CancelTasks,
    JobChanged,
    Task,
    TaskResult,
    read_task,
    read_task_result,
)
from tests.clock import ManualClock

REPLY = topology.task_results("m1")


class Bench:
    """One worker with two slots, and a master's end of the broker."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.server = MemoryBroker(self.clock)
        self.master, self.own = self.server.connect(), self.server.connect()
        self.steps = Steps()
        self.worker = self.make_worker(self.own)
        self.results: asyncio.Queue[TaskResult] = asyncio.Queue()
        self.dead: asyncio.Queue[Task] = asyncio.Queue()

    def make_worker(self, connection: MemoryConnection) -> Worker:
        tools = {"steps": RunnerTools(MemoryCache(), self.clock)}
        return Worker(WorkerSettings(slots=2), connection, Kinds([self.steps]), tools)

    async def start(self) -> None:
        await self.master.start()
        await self.own.start()
        await self.master.declare(REPLY)
        await self.master.consume(REPLY.name, self._on_result, 100)
        await self.worker.start()
        await self.master.consume(topology.TASKS_DEAD.name, self._on_dead, 100)

    async def _on_result(self, delivery: Delivery) -> None:
        self.results.put_nowait(read_task_result(delivery.body))
        delivery.acknowledge()

    async def _on_dead(self, delivery: Delivery) -> None:
        self.dead.put_nowait(read_task(delivery.body))
        delivery.acknowledge()

    async def give(
        self, number: int, behave: str = "", job: int = 1, token: int = 1, kind: str = "steps", *, alone: bool = False
    ) -> None:
        task = Task(job, token, number, kind, pack([number, behave, 0]), REPLY.name, 5.0, alone)
        await self.master.publish(topology.tasks("steps").name, pack(task))

    async def result(self) -> TaskResult:
        async with asyncio.timeout(10):
            return await self.results.get()

    async def depth(self) -> int:
        return await self.master.depth(topology.tasks("steps").name)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.start()
    yield bench
    await bench.worker.stop()
    await bench.own.stop()
    await bench.master.stop()


async def test_each_task_is_answered_under_its_job_and_token(bench: Bench) -> None:
    for number in range(5):
        await bench.give(number, job=7, token=3)
    results = [await bench.result() for _ in range(5)]
    assert {(each.job, each.token, each.task, each.data) for each in results} == {
        (7, 3, number, str(number).encode()) for number in range(5)
    }


async def test_a_task_to_be_done_later_and_one_that_fails_are_answered_too(bench: Bench) -> None:
    await bench.give(1, "later")
    assert (await bench.result()).later_s == 0.01
    await bench.give(2, "raise")
    assert (await bench.result()).error == "worker error: RuntimeError"
    await bench.give(3, kind="unheard of")
    assert (await bench.result()).error == "worker error: KeyError"


async def test_rubbish_in_the_queue_harms_nothing(bench: Bench) -> None:
    await bench.master.publish(topology.tasks("steps").name, b"\xc1 rubbish")
    await bench.master.broadcast(topology.CONTROL, b"\xc1 rubbish")
    await bench.master.broadcast(topology.CONTROL, pack(JobChanged(1)))
    await bench.give(1)
    assert (await bench.result()).task == 1
    assert bench.dead.empty()


async def test_no_more_tasks_than_slots_run_at_a_time(bench: Bench) -> None:
    for number in range(5):
        await bench.give(number, "gate")
    await bench.clock.settle()
    assert (bench.worker.running(), await bench.depth()) == (2, 3)


async def test_p14_a_cancel_drops_tasks_of_its_token_or_older_in_hand_and_to_come(bench: Bench) -> None:
    await bench.give(1, "gate", token=4)
    await bench.clock.settle()
    await bench.master.broadcast(topology.CONTROL, pack(CancelTasks(1, 4)))
    await bench.master.broadcast(topology.CONTROL, pack(CancelTasks(1, 2)))
    await bench.clock.settle()
    assert bench.worker.running() == 0
    await bench.give(2, token=4)
    await bench.give(3, token=5)
    await bench.give(4, job=2, token=1)
    assert {(await bench.result()).task for _ in range(2)} == {3, 4}
    assert bench.results.empty()
    assert await bench.depth() == 0


async def test_p22_a_result_that_cannot_be_sent_gives_its_task_back(bench: Bench) -> None:
    task = Task(1, 1, 9, "steps", pack([9, "", 0]), "reply.nobody", 5.0)
    await bench.master.publish(topology.tasks("steps").name, pack(task))
    while bench.dead.empty():
        await bench.clock.advance(1.0)
    assert bench.dead.get_nowait() == task
    assert bench.worker.done_count == 0
    await bench.give(1)
    assert (await bench.result()).task == 1


async def test_p21_a_result_waits_for_a_broker_that_is_away_and_nothing_counts_against_its_task(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.worker.stop()
    away = bench.server.connect()  # of a part's two connections the one that publishes may come back later
    bench.own.publish = away.publish  # type: ignore[method-assign]
    bench.worker = bench.make_worker(bench.own)
    await bench.worker.start()
    for turn in (1, 2):
        await bench.give(turn)
        await bench.give(10 + turn)
        for _ in range(10):
            await bench.clock.advance(1.0)
        assert (bench.results.empty(), bench.dead.empty()) == (True, True)
        assert [record.message for record in caplog.records] == ["results not sent yet"] * turn, "one line an outage"
        await away.start()
        await bench.clock.advance(1.0)
        assert {(await bench.result()).task for _ in range(2)} == {turn, 10 + turn}
        assert (bench.worker.done_count, await bench.depth()) == (2 * turn, 0)
        await away.stop()


async def test_p21_a_task_that_is_to_be_alone_runs_beside_no_other_and_then_all_goes_on(bench: Bench) -> None:
    runner = bench.steps.runner_made
    await bench.give(1, "gate")
    await bench.clock.settle()
    await bench.give(2, alone=True)
    await bench.give(3)
    for _ in range(10):
        await bench.clock.settle()
    assert bench.results.empty(), "it waits for the one that runs, and others wait for it"
    runner.gate.set()
    assert [(await bench.result()).task for _ in range(3)] == [1, 2, 3]
    await bench.give(4)
    assert (await bench.result()).task == 4


async def test_p21_a_task_that_is_called_off_while_it_waits_to_be_alone_is_in_nobodys_way(bench: Bench) -> None:
    await bench.give(1, "gate", job=1)
    await bench.clock.settle()
    await bench.give(2, job=2, alone=True)
    await bench.clock.settle()
    await bench.master.broadcast(topology.CONTROL, pack(CancelTasks(2, 1)))
    await bench.clock.settle()
    await bench.give(3, job=3)
    assert (await bench.result()).task == 3
    bench.steps.runner_made.gate.set()
    assert (await bench.result()).task == 1


async def test_a_worker_that_stops_gives_its_tasks_to_the_next_one(bench: Bench) -> None:
    await bench.give(1, "gate")
    await bench.clock.settle()
    await bench.worker.stop()
    await bench.worker.stop()
    assert await bench.depth() == 1
    bench.worker = bench.make_worker(bench.own)
    await bench.worker.start()
    bench.steps.runner_made.gate.set()
    assert (await bench.result()).task == 1


async def test_drain_finishes_what_is_in_hand_and_leaves_the_rest(bench: Bench) -> None:
    for number in range(4):
        await bench.give(number, "gate")
    await bench.clock.settle()
    drained = asyncio.create_task(bench.worker.drain())
    await bench.clock.settle()
    assert not drained.done()
    bench.steps.runner_made.gate.set()
    await drained
    assert {(await bench.result()).task for _ in range(2)} == {0, 1}
    assert (bench.worker.running(), await bench.depth()) == (0, 2)


async def test_a_worker_without_slots_is_refused() -> None:
    with pytest.raises(Misuse):
        WorkerSettings(slots=0)
