"""Workers as processes of their own, and a whole system in one process, whose event loop a task holds for good."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from backend.broker import topology
from backend.broker.rabbitmq import RabbitBroker
from backend.wiring import Engines, EngineUrls
from backend.worker.processor_alarm import EXIT_STATUS
from discovery.server import Discovery
from tests import services
from tests.backend.contract_broker import Inbox, until
from tests.system.cluster import LIMITS, Cluster
from tests.system.parts import Process, part, start_part
from tests.system.stalls import HOLD, Stalls
from tests.system.talk import PATIENCE_S, Talker
from wire.codec import pack
from wire.messages.work import Task, read_task_result
from wire.tokens import Keyring

KIND = ("--kind", "tests.system.stalls:Stalls")
BOUND_S = 1
REPLY = topology.reply("m1")
NAMES = ("job=7 task=3 kind=stalls", "task 3 of job 7 (stalls)")


async def start_worker(broker: str, discovery: str) -> Process:
    """A worker with the least bound there is, known to a discovery that has no secret."""
    options = ("--broker", broker, "--discovery", discovery, "--stall-after", str(BOUND_S), *KIND)
    return await start_part("worker", *options, variables={"ROOST_SECRET": ""})


@pytest.fixture
def vhost() -> str:
    """The URL of a broker that nobody else uses."""
    return services.rabbitmq().vhost()


@pytest.fixture
async def broker(vhost: str) -> AsyncIterator[RabbitBroker]:
    """A master's end of it."""
    broker = RabbitBroker(vhost)
    await broker.start()
    await broker.declare(REPLY)
    yield broker
    await broker.stop()


@pytest.fixture
async def worker(vhost: str) -> AsyncIterator[Process]:
    discovery = Discovery("127.0.0.1", 0, Keyring.random())
    await discovery.start()
    try:
        worker = await start_worker(vhost, discovery.url)
        yield worker
        await worker.kill()
    finally:
        await discovery.stop()


async def give(broker: RabbitBroker, number: int, behave: str = "") -> None:
    task = Task(7, 1, number, "stalls", pack([number, behave, 0]), REPLY.name, 5.0)
    await broker.publish(topology.tasks("stalls").name, pack(task))


async def ended(process: Process) -> int:
    """Its exit status, once it has ended by itself and all that it wrote is here."""
    async with asyncio.timeout(PATIENCE_S):
        status = await process.child.wait()
        assert process.listening is not None
        await process.listening
    return status


@pytest.mark.parametrize("how", ["spin", "sleep", "regex", "sum", "child", "callback"])
async def test_p21_a_task_that_holds_the_event_loop_ends_its_worker_which_names_the_task_before(
    broker: RabbitBroker, worker: Process, how: str
) -> None:
    await give(broker, 3, how)
    assert await ended(worker) == EXIT_STATUS
    assert any(name in line for line in worker.complaints for name in NAMES), worker.complaints


async def test_p21_a_thread_that_keeps_the_interpreters_lock_ends_its_worker_which_says_where(
    broker: RabbitBroker, worker: Process
) -> None:
    await give(broker, 3, "thread")
    assert await ended(worker) == EXIT_STATUS
    assert any("in backtrack" in line for line in worker.complaints), worker.complaints


async def test_p21_a_worker_that_was_stopped_for_longer_than_the_bound_goes_on(
    broker: RabbitBroker, worker: Process
) -> None:
    results = Inbox()
    await broker.consume(REPLY.name, results, 10)
    for number in range(3):
        worker.freeze()
        await asyncio.sleep(2.5 * BOUND_S)  # this is the pause itself, not waiting for something
        worker.thaw()
        await give(broker, number)
        assert read_task_result((await results.next()).body).data == str(number).encode()
    assert worker.is_running
    assert worker.complaints == []


@pytest.mark.timeout(240)
async def test_p21_a_task_that_holds_every_loop_is_recorded_as_failed_and_other_jobs_are_done(
    vhost: str, tmp_path: Path
) -> None:
    cluster = Cluster(tmp_path)
    cluster.steps = Stalls()
    cluster.engines = Engines(EngineUrls(broker=vhost, store=f"sqlite:{tmp_path}/jobs.db"), LIMITS)
    async with cluster:
        await cluster.start_lock()
        await cluster.start_master()
        await cluster.start_gateway()
        async with supervised(vhost, cluster.url) as lives, Talker(cluster.url) as bad, Talker(cluster.url) as good:
            await bad.hello()
            await bad.submit(kind="stalls", behave="spin")
            result = None
            while result is None:
                with suppress(TimeoutError):
                    result, parts = await bad.result()
            assert (result["outcome"], parts) == ("done", [["given up: no worker survived it"]])
            assert {life.child.returncode for life in lives if not life.is_running} == {EXIT_STATUS}
            await good.hello()
            await good.submit(kind="stalls", width=20)
            assert (await good.result())[1] == [[str(number) for number in range(20)]]


@asynccontextmanager
async def supervised(broker: str, discovery: str) -> AsyncIterator[list[Process]]:
    """Every life of a worker that is started again whenever it has ended."""
    lives: list[Process] = []

    async def keep() -> None:
        while True:
            lives.append(await start_worker(broker, discovery))
            await lives[-1].child.wait()

    keeper = asyncio.create_task(keep())
    try:
        yield lives
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        for life in lives:
            await life.kill()


@asynccontextmanager
async def all_in_one() -> AsyncIterator[tuple[Process, Talker]]:
    """``roost up``, and a client of it."""
    async with part("up", "--port", "0", "--gateway-port", "0", *KIND) as up:
        assert up.child.stdout is not None
        url = re.findall(r"http://\S+", (await up.child.stdout.readline()).decode())[0]
        async with Talker(url) as client:
            await client.hello()
            yield up, client


async def test_a_task_that_holds_the_loop_of_the_whole_system_is_named_again_and_again_and_ends_nothing(
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    async with all_in_one() as (up, client):
        await client.submit(kind="stalls", behave=f"{HOLD}{gate}")
        await until(lambda: sum("task=0 kind=stalls" in line for line in up.complaints) == 2)
        gate.touch()
        assert (await client.result())[1] == [["0"]]
        assert up.is_running


async def test_a_task_that_keeps_the_interpreters_lock_of_the_whole_system_is_named_and_ends_nothing() -> None:
    async with all_in_one() as (up, client):
        await client.submit(kind="stalls", behave="regex")
        await until(lambda: sum("in task 0 of job 1 (stalls)" in line for line in up.complaints) == 2)
        assert up.is_running
