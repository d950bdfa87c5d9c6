"""The broker's contract over every engine, and what the embedded one does beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.support import services
from roost.backend.broker.memory.memory_broker import MemoryBroker
from roost.backend.broker.port import Broker, Delivery, QueueSpec
from roost.backend.broker.rabbitmq.rabbitmq_broker import RabbitBroker
from roost.wire.errors import Misuse, Unavailable
from tests.backend.broker.contract_broker import BrokerContract, BrokerEngine, Inbox
from tests.clock import ManualClock


class RabbitEngine:
    """Connections to the RabbitMQ of this test run."""

    def __init__(self) -> None:
        self._url = services.rabbitmq().url

    def connect(self) -> Broker:
        return RabbitBroker(self._url)


@pytest.fixture(
    params=[
        pytest.param(MemoryBroker, id="memory"),
        pytest.param(RabbitEngine, id="rabbitmq", marks=pytest.mark.engines),
    ]
)
async def engine(request: pytest.FixtureRequest) -> BrokerEngine:
    made: BrokerEngine = request.param()
    return made


class TestContract(BrokerContract):
    """Every engine keeps the promises of the port."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(clock: ManualClock) -> AsyncIterator[MemoryBroker]:
    yield MemoryBroker(clock)
    assert clock.sleepers() == 0, "every test stops its connections, and then no task is left"


class TestMemoryBroker:
    async def test_messages_and_queues_die_on_time_without_anybody_looking(
        self, broker: MemoryBroker, clock: ManualClock
    ) -> None:
        connection = broker.connect()
        await connection.start()
        await connection.declare(QueueSpec("dead"))
        await connection.declare(QueueSpec("slow", ttl_s=100.0, dead_letters="dead"))
        await connection.declare(QueueSpec("fast", ttl_s=10.0, dead_letters="dead", expires_s=30.0))
        letters = Inbox()
        await connection.consume("dead", letters, 10)
        await connection.publish("slow", b"slow")
        await connection.publish("fast", b"fast")
        await clock.advance(9.999)
        assert letters.bodies() == []
        await clock.advance(0.001)
        assert letters.bodies() == [b"fast"]
        await clock.advance(90.0)
        assert [letter.died_in for letter in letters.all] == ["fast", "slow"]
        with pytest.raises(Unavailable):
            await connection.depth("fast")
        await connection.stop()

    async def test_what_died_while_nobody_was_connected_is_dead_when_somebody_comes(
        self, broker: MemoryBroker, clock: ManualClock
    ) -> None:
        first, second = broker.connect(), broker.connect()
        await first.start()
        await first.declare(QueueSpec("dead"))
        await first.declare(QueueSpec("queue", ttl_s=10.0, dead_letters="dead"))
        await first.publish("queue", b"old")
        await first.stop()
        assert clock.sleepers() == 0
        await clock.advance(10.0)
        await second.start()
        assert (await second.depth("queue"), await second.depth("dead")) == (0, 1)
        await second.stop()

    async def test_one_task_keeps_time_for_any_number_of_messages(
        self, broker: MemoryBroker, clock: ManualClock
    ) -> None:
        connection = broker.connect()
        await connection.start()
        before = len(asyncio.all_tasks())
        for number in range(20):
            await connection.declare(QueueSpec(f"queue.{number}", ttl_s=50.0 - number))
            for _ in range(50):
                await connection.publish(f"queue.{number}", b"waits")
        await clock.settle()
        assert len(asyncio.all_tasks()) == before + 1
        assert clock.sleepers() == 1
        await connection.stop()

    async def test_a_message_that_outlived_its_time_in_hand_dies_when_it_comes_back(
        self, broker: MemoryBroker, clock: ManualClock
    ) -> None:
        connection = broker.connect()
        await connection.start()
        await connection.declare(QueueSpec("dead"))
        await connection.declare(QueueSpec("queue", ttl_s=10.0, dead_letters="dead"))
        inbox = Inbox()
        await connection.consume("queue", inbox, 1)
        await connection.publish("queue", b"held")
        delivery = await inbox.next()
        await clock.advance(10.0)
        assert await connection.depth("dead") == 0
        delivery.give_back()
        assert await connection.depth("dead") == 1
        assert len(inbox.all) == 1
        await connection.stop()

    async def test_returned_messages_come_before_fresh_ones_in_their_old_order(self, broker: MemoryBroker) -> None:
        connection = broker.connect()
        await connection.start()
        await connection.declare(QueueSpec("queue"))
        inbox = Inbox()
        subscription = await connection.consume("queue", inbox, 3)
        for body in (b"0", b"1", b"2", b"3"):
            await connection.publish("queue", body)
        held = await inbox.take(3)
        subscription.pause()
        for delivery in (held[2], held[0], held[1]):
            delivery.give_back()
        subscription.resume()
        assert [delivery.body for delivery in await inbox.take(3)] == [b"0", b"1", b"2"]
        await connection.stop()

    async def test_a_handler_that_had_not_begun_when_its_consumer_was_cancelled_never_begins(
        self, broker: MemoryBroker, clock: ManualClock
    ) -> None:
        connection = broker.connect()
        await connection.start()
        await connection.declare(QueueSpec("queue"))
        await connection.publish("queue", b"handed over")
        inbox = Inbox()
        subscription = await connection.consume("queue", inbox, 1)
        assert await connection.depth("queue") == 0
        await subscription.cancel()
        await clock.settle()
        assert inbox.all == []
        assert await connection.depth("queue") == 1
        await connection.stop()

    async def test_a_handler_may_stop_its_own_connection(self, broker: MemoryBroker) -> None:
        connection, other = broker.connect(), broker.connect()
        await connection.start()
        await other.start()
        await connection.declare(QueueSpec("queue"))
        stopped = asyncio.Event()

        async def handler(_: Delivery) -> None:
            await connection.stop()
            stopped.set()

        await connection.consume("queue", handler, 1)
        await other.publish("queue", b"stop")
        async with asyncio.timeout(10):
            await stopped.wait()
        assert await other.depth("queue") == 1
        await other.stop()

    async def test_a_cancelled_handler_gives_its_message_back(self, broker: MemoryBroker) -> None:
        connection = broker.connect()
        await connection.start()
        await connection.declare(QueueSpec("queue"))
        tries: list[bool] = []
        tried_again = asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            tries.append(delivery.redelivered)
            if len(tries) == 1:
                raise asyncio.CancelledError
            tried_again.set()

        await connection.consume("queue", handler, 1)
        await connection.publish("queue", b"cancelled")
        async with asyncio.timeout(10):
            await tried_again.wait()
        assert tries == [False, True]
        await connection.stop()

    async def test_dead_letters_are_never_refused(self, broker: MemoryBroker, clock: ManualClock) -> None:
        connection = broker.connect()
        await connection.start()
        await connection.declare(QueueSpec("dead", max_length=1))
        await connection.declare(QueueSpec("queue", ttl_s=10.0, dead_letters="dead"))
        for _ in range(3):
            await connection.publish("queue", b"old")
        await clock.advance(10.0)
        assert await connection.depth("dead") == 3
        await connection.stop()

    async def test_dead_letters_must_have_somewhere_to_go(self, broker: MemoryBroker) -> None:
        connection = broker.connect()
        await connection.start()
        with pytest.raises(Misuse):
            await connection.declare(QueueSpec("queue", ttl_s=10.0, dead_letters="dead"))
        await connection.stop()

    async def test_a_connection_that_was_never_started_is_unavailable(self, broker: MemoryBroker) -> None:
        connection = broker.connect()
        with pytest.raises(Unavailable):
            await connection.declare(QueueSpec("queue"))
        await connection.stop()

    async def test_a_paused_listener_misses_what_is_said_meanwhile(
        self, broker: MemoryBroker, clock: ManualClock
    ) -> None:
        connection = broker.connect()
        await connection.start()
        heard: list[bytes] = []
        listener = await connection.listen("fanout", heard.append)
        listener.pause()
        await connection.broadcast("fanout", b"missed")
        await clock.settle()
        listener.resume()
        await connection.broadcast("fanout", b"heard")
        await clock.settle()
        assert heard == [b"heard"]
        await connection.stop()

    async def test_ended_subscriptions_leave_nothing_behind(self, broker: MemoryBroker) -> None:
        connection = broker.connect()
        await connection.start()
        await connection.declare(QueueSpec("queue"))
        for _ in range(10):
            await (await connection.consume("queue", Inbox(), 1)).cancel()
            await (await connection.listen("fanout", print)).cancel()
        assert not connection.subscriptions
        assert not broker.runners
        assert broker.listeners == {"fanout": []}
        await connection.stop()


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"max_length": 0},
        {"ttl_s": 0.0},
        {"ttl_s": -1.0},
        {"ttl_s": float("nan")},
        {"expires_s": 0.0},
        {"delivery_limit": -1},
    ],
)
def test_a_queue_without_sense_is_misuse(fields: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        QueueSpec(**{"name": "queue", **fields})  # type: ignore[arg-type]
