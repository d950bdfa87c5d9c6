"""Workers as processes of their own, and a whole system in one process, whose event loop a task holds for good."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bench.support import services
from bench.support.components import Process, launch, part, start_part
from bench.support.scripted_client import ScriptedClient
from roost.backend.broker import topology
from roost.backend.broker.rabbitmq.rabbitmq_broker import RabbitBroker
from roost.backend.engines import Engines, EngineUrls
from roost.backend.worker.processor_alarm import EXIT_STATUS
from roost.discovery.server import Discovery
from roost.wire.codec import pack
from roost.wire.messages.work import Task, read_task_result
from roost.wire.tokens import Keyring
from tests.backend.broker.contract_broker import Inbox
from tests.system.cluster import LIMITS, Cluster
from tests.system.stalls import HOLD, Stalls

pytestmark = pytest.mark.slow

KIND = ("--kind", "tests.system.stalls:Stalls")
BOUND_S = 2
ENDS_WITHIN_S = 60.0
"""A busy machine gives a worker the processor time of the bound late."""
NO_SECRET = {"ROOST_SECRET": ""}
REPLY = topology.task_results("m1")
NAMES = ("job=7 task=3 kind=stalls", "task 3 of job 7 (stalls)")


def worker_command(broker: str, discovery: str) -> tuple[str, ...]:
    return ("worker", "--broker", broker, "--discovery", discovery, "--stall-after-s", str(BOUND_S), *KIND)


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
        worker = await start_part(*worker_command(vhost, discovery.url), variables=NO_SECRET)
        yield worker
        await worker.kill()
    finally:
        await discovery.stop()


async def give(broker: RabbitBroker, number: int, behave: str = "") -> None:
    task = Task(7, 1, number, "stalls", pack([number, behave, 0]), REPLY.name, 5.0)
    await broker.publish(topology.tasks("stalls").name, pack(task))


async def ended(process: Process) -> int:
    """Its exit status, once it has ended by itself and all that it wrote is here."""
    async with asyncio.timeout(ENDS_WITHIN_S):
        status = await process.child.wait()
        assert process.listening is not None
        await process.listening
    return status


async def said_by(process: Process, words: str, times: int) -> None:
    """Return when so many lines of its log have these words; the time counts as its own, which may be little."""
    async with asyncio.timeout(100):
        while sum(words in line for line in process.complaints) < times:
            assert process.is_running, process.complaints
            await asyncio.sleep(0.05)


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
    for number in range(2):
        worker.freeze()
        await asyncio.sleep(1.5 * BOUND_S)  # this is the pause itself, not waiting for something
        worker.thaw()
        await give(broker, number)
        assert read_task_result((await results.next()).body).data == str(number).encode()
    assert worker.is_running
    assert not any("event loop stalled" in line for line in worker.complaints)


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
        async with supervised(vhost, cluster.url) as lives, ScriptedClient(cluster.url) as client:
            await client.hello()
            await client.submit("r1", kind="stalls", behave="spin")
            result = None
            while result is None:
                with suppress(TimeoutError):  # several lives, on a machine that may be busy
                    result, parts = await client.result()
            assert (result["outcome"], parts) == ("done", [["given up: no worker survived it"]])
            assert {life.child.returncode for life in lives if not life.is_running} == {EXIT_STATUS}
            await client.submit("r2", kind="stalls", width=20)
            assert (await client.result())[1] == [[str(number) for number in range(20)]]


@asynccontextmanager
async def supervised(broker: str, discovery: str) -> AsyncIterator[list[Process]]:
    """Every life of a worker that is started again whenever it has ended."""
    lives: list[Process] = []

    async def keep() -> None:
        while True:  # a task that waits for the worker may end it before it says that it serves
            lives.append(await launch(*worker_command(broker, discovery), variables=NO_SECRET))
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
async def all_in_one() -> AsyncIterator[tuple[Process, ScriptedClient]]:
    """``roost up``, and a client of it."""
    async with part("up", "--port", "0", "--gateway-port", "0", *KIND) as up:
        assert up.child.stdout is not None
        url = re.findall(r"http://\S+", (await up.child.stdout.readline()).decode())[0]
        async with ScriptedClient(url) as client:
            await client.hello()
            yield up, client


async def test_a_task_that_holds_the_loop_of_the_whole_system_is_named_again_and_again_and_ends_nothing(
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    async with all_in_one() as (up, client):
        await client.submit(kind="stalls", behave=f"{HOLD}{gate}")
        await said_by(up, "task=0 kind=stalls", 2)
        gate.touch()
        assert (await client.result())[1] == [["0"]]
        assert up.is_running


async def test_a_task_that_keeps_the_interpreters_lock_of_the_whole_system_is_named_and_ends_nothing() -> None:
    async with all_in_one() as (up, client):
        await client.submit(kind="stalls", behave="regex")
        await said_by(up, "in task 0 of job 1 (stalls)", 1)
        assert up.is_running
