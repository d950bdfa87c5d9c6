"""What only a real RabbitMQ can do to us: die, freeze, close channels, delete queues."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
from collections.abc import AsyncIterator, Iterator

import aio_pika
import pytest

from bench.support import services
from bench.support.waiting import until
from roost.backend.broker import topology
from roost.backend.broker.port import QueueSpec
from roost.backend.broker.rabbitmq.amqp_connection import CLOSE_S
from roost.backend.broker.rabbitmq.channel import ConsumerChannel
from roost.backend.broker.rabbitmq.publisher import BODY_BYTES, LEAVING_MAX, WINDOW
from roost.backend.broker.rabbitmq.queue_arguments import NO_DELIVERY_LIMIT, arguments, death_queue
from roost.backend.broker.rabbitmq.rabbitmq_broker import RabbitBroker
from roost.wire.errors import Misuse, Unavailable
from tests.backend.broker.contract_broker import Inbox, publish, until_depth

pytestmark = pytest.mark.engines


@pytest.fixture
def node() -> Iterator[services.RabbitMq]:
    node = services.rabbitmq()
    yield node
    if not node.is_running():  # a test failed half-way: the next ones need it
        node.start()


@pytest.fixture
async def broker(node: services.RabbitMq) -> AsyncIterator[RabbitBroker]:
    broker = RabbitBroker(node.url, stalled_s=0.2)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def queue(broker: RabbitBroker, request: pytest.FixtureRequest) -> str:
    name = f"test.{request.node.name}"
    await broker.declare(QueueSpec(name))
    return name


def attachment_of(subscription: object) -> ConsumerChannel:
    attachment = subscription._now  # type: ignore[attr-defined]
    assert isinstance(attachment, ConsumerChannel)
    return attachment


def open_connections() -> int:
    """How many of the driver's connections in this process are not closed."""
    gc.collect()
    return sum(isinstance(each, aio_pika.Connection) and not each.is_closed for each in gc.get_objects())


def actions(caplog: pytest.LogCaptureFixture, action: str) -> int:
    return len([record for record in caplog.records if getattr(record, "action", "") == action])


async def is_taken(broker: RabbitBroker, queue: str, body: bytes) -> bool:
    try:
        await broker.publish(queue, body)
    except Unavailable:
        return False
    return True


async def test_after_kill_9_everything_confirmed_is_there_and_everybody_comes_back(
    node: services.RabbitMq, broker: RabbitBroker, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    mail = topology.task_results("killed")
    await broker.declare(mail)
    inbox, letters, heard = Inbox(), Inbox(), list[bytes]()
    await publish(broker, queue, b"in hand", b"second", b"third")
    await publish(broker, mail.name, b"mail")
    await broker.consume(queue, inbox, 1)
    await broker.consume(mail.name, letters, 1)
    await broker.listen("test.kill", heard.append)
    early = await inbox.next()
    await letters.next()
    await until(lambda: node.has_on_disk(queue))
    connections = open_connections()

    await asyncio.to_thread(node.kill)
    with pytest.raises(Unavailable) as refusal:
        await broker.publish(queue, b"refused")
    assert refusal.value.retry_after_s > 0
    await broker.broadcast("test.kill", b"nobody hears")
    early.acknowledge()
    await asyncio.to_thread(node.start)

    found: dict[bytes, bool] = {}
    for _ in range(3):  # what comes back has lost its place: mostly it is first again
        delivery = await inbox.next()
        found[delivery.body] = delivery.redelivered
        early.give_back()
        delivery.acknowledge()
    assert set(found) == {b"in hand", b"second", b"third"}
    assert found[b"in hand"], "its acknowledgement was never heard"
    assert (await letters.next()).body == b"mail"
    await until(lambda: is_taken(broker, queue, b"taken again"))
    assert (await inbox.next()).body == b"taken again"

    async def is_heard() -> bool:
        await broker.broadcast("test.kill", b"back")
        return b"back" in heard

    await until(is_heard)
    assert open_connections() == connections, "those that could not connect are closed"
    assert actions(caplog, "broker_away") == actions(caplog, "broker_back") == 2, "one line each for two connections"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_broker_that_does_not_answer_is_unavailable_and_nobody_hangs(
    node: services.RabbitMq, broker: RabbitBroker, queue: str
) -> None:
    inbox = Inbox()
    await broker.consume(queue, inbox, 1)
    late = RabbitBroker(node.url)
    node.freeze()
    try:
        outcomes = await asyncio.gather(
            *(broker.publish(queue, b"silence") for _ in range(2 * WINDOW)),
            broker.depth(queue),
            broker.declare(QueueSpec(queue)),
            late.start(),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * (2 * WINDOW + 3)
        async with asyncio.timeout(15):
            await broker.stop()
    finally:
        node.thaw()


async def test_a_deaf_consumer_is_found_and_starts_anew(
    broker: RabbitBroker, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox()
    subscription = await broker.consume(queue, inbox, 2)
    attachment = attachment_of(subscription)
    assert attachment._tag is not None
    await attachment._queue.cancel(attachment._tag)  # behind its back, as the fault would have it
    await broker.publish(queue, b"waits")
    assert (await inbox.next()).body == b"waits"
    assert actions(caplog, "consumer_deaf") == 1


async def test_a_consumer_without_room_or_paused_is_not_deaf(
    broker: RabbitBroker, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    busy, paused = Inbox(), Inbox()
    await broker.consume(queue, busy, 1)
    await publish(broker, queue, b"in hand", b"waits")
    await busy.next()
    sleeper = await broker.consume(queue, paused, 5)
    (await paused.next()).acknowledge()
    sleeper.pause()
    await publish(broker, queue, *[b"waits too"] * 10)  # a few may overtake the pause
    await asyncio.sleep(0.7)  # three looks of the watchdog: nothing else tells that nothing happens
    assert actions(caplog, "consumer_deaf") == 0
    assert await broker.depth(queue) >= 5
    assert busy.bodies() == [b"in hand"]


async def test_a_consumer_survives_the_loss_of_its_queue(
    node: services.RabbitMq, broker: RabbitBroker, queue: str
) -> None:
    inbox = Inbox()
    await broker.consume(queue, inbox, 2)
    async with await aio_pika.connect(node.url) as other:
        await (await other.channel()).queue_delete(queue)
    await until(lambda: is_taken(broker, queue, b"new queue"))
    assert (await inbox.next()).body == b"new queue"


async def test_what_was_in_hand_comes_back_when_the_broker_closes_the_channel(broker: RabbitBroker, queue: str) -> None:
    inbox = Inbox()
    subscription = await broker.consume(queue, inbox, 2)
    await broker.publish(queue, b"in hand")
    early = await inbox.next()
    underlay = await attachment_of(subscription)._channel.get_underlay_channel()
    await underlay.basic_ack(12345)  # never delivered: a fault that costs the channel, as the consumer timeout does
    again = await inbox.next()
    assert (again.body, again.redelivered) == (b"in hand", True)
    early.acknowledge()
    again.acknowledge()
    await until_depth(broker, queue, 0)


async def test_pausing_holds_over_a_new_channel(broker: RabbitBroker, queue: str) -> None:
    inbox = Inbox()
    subscription = await broker.consume(queue, inbox, 2)
    subscription.pause()
    attachment = attachment_of(subscription)
    underlay = await attachment._channel.get_underlay_channel()
    await underlay.basic_ack(12345)
    await until(lambda: attachment_of(subscription) is not attachment)
    await broker.publish(queue, b"later")
    assert await broker.depth(queue) == 1
    subscription.resume()
    assert (await inbox.next()).body == b"later"


async def test_a_thousand_publish_side_by_side_and_in_order(broker: RabbitBroker, queue: str) -> None:
    bodies = [b"%d" % number for number in range(1000)]
    await asyncio.gather(*(broker.publish(queue, body) for body in bodies))
    inbox = Inbox()
    await broker.consume(queue, inbox, 1000)
    assert [delivery.body for delivery in await inbox.take(1000)] == bodies


async def test_a_publisher_that_is_cancelled_harms_no_other(broker: RabbitBroker, queue: str) -> None:
    sending = [asyncio.ensure_future(broker.publish(queue, b"%d" % number)) for number in range(100)]
    await asyncio.sleep(0)
    for task in sending[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    assert outcomes[1::2] == [None] * 50
    await broker.publish(queue, b"and on")
    assert await broker.depth(queue) >= 51


async def test_a_body_that_rabbitmq_would_not_take_costs_nobody_the_channel(broker: RabbitBroker, queue: str) -> None:
    with pytest.raises(Misuse):
        await broker.publish(queue, bytes(BODY_BYTES + 1))
    await broker.publish(queue, b"small")
    await until_depth(broker, queue, 1)


async def test_a_full_queue_refuses_on_and_on_and_harms_nobody_else(broker: RabbitBroker, queue: str) -> None:
    full = QueueSpec("test.full", max_length=1, expires_s=60.0)
    await broker.declare(full)
    await until(lambda: is_refused(broker, full.name))
    for _ in range(2 * LEAVING_MAX):
        outcomes = await asyncio.gather(
            *(broker.publish(name, b"body") for name in (full.name, queue) * 20), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes[::2]} == {Unavailable}
        assert outcomes[1::2] == [None] * 20
    assert len(broker._publisher._confirmed._leaving) <= LEAVING_MAX
    async with asyncio.timeout(CLOSE_S):
        await broker.stop()


async def test_a_message_for_nobody_costs_nobody_the_channel(broker: RabbitBroker, queue: str) -> None:
    await broker.publish(queue, b"opens it")
    channel = await broker._publisher._confirmed.channel()
    for _ in range(3):
        with pytest.raises(Unavailable, match="does not exist"):
            await broker.publish("test.nobody", b"body")
    assert await broker._publisher._confirmed.channel() is channel


async def is_refused(broker: RabbitBroker, queue: str) -> bool:
    return not await is_taken(broker, queue, b"fills")


async def test_a_name_that_rabbitmq_would_not_take_is_misuse(broker: RabbitBroker) -> None:
    name = "é" * 128
    with pytest.raises(Misuse):
        await broker.declare(QueueSpec(name))
    with pytest.raises(Misuse):
        await broker.publish(name, b"body")
    with pytest.raises(Misuse):
        await broker.consume(name, Inbox(), 1)


async def test_nobody_there_or_a_wrong_password_is_unavailable_and_the_password_stays_secret(
    node: services.RabbitMq,
) -> None:
    nobody = f"amqp://127.0.0.1:{services.free_port()}/"
    for url in (nobody, node.url.replace("guest@", "hunter2@"), f"{node.url}no-such-vhost"):
        broker = RabbitBroker(url)
        with pytest.raises(Unavailable) as refusal:
            await broker.start()
        assert "hunter2" not in str(refusal.value)
        await broker.stop()


def test_queues_are_of_the_kind_that_the_design_names() -> None:
    kinds = {
        spec.name: arguments(spec)["x-queue-type"]
        for spec in (
            topology.JOBS_DEAD,
            topology.TASKS_DEAD,
            topology.job_offers(3600.0),
            topology.tasks("crawl"),
            topology.task_results("m1"),
            topology.gateway_events("g1"),
        )
    }
    assert kinds == {
        "jobs.dead": "quorum",
        "tasks.dead": "quorum",
        "jobs.assigned": "quorum",
        "tasks.crawl": "quorum",
        "reply.m1": "classic",
        "done.g1": "classic",
    }


def test_the_door_to_the_store_is_bounded_and_loses_nothing() -> None:
    assert arguments(topology.job_offers(1.5)) == {
        "x-queue-type": "quorum",
        "x-delivery-limit": NO_DELIVERY_LIMIT,
        "x-message-ttl": 1500,
        "x-max-length": topology.WAITING_OFFERS_MAX,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "jobs.dead",
        "x-dead-letter-strategy": "at-least-once",
    }


def test_in_a_cluster_no_queue_depends_on_one_node() -> None:
    mail = arguments(topology.task_results("m1"), in_cluster=True)
    assert mail == {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT, "x-expires": 60_000}
    assert arguments(QueueSpec("q", durable=False), in_cluster=True) == {"x-queue-type": "classic"}


def test_endless_is_said_by_leaving_it_out() -> None:
    assert arguments(QueueSpec("q", ttl_s=math.inf, expires_s=math.inf)) == {"x-queue-type": "classic"}


@pytest.mark.parametrize("deaths", [None, [], "queue", [7], 7])
def test_headers_of_others_are_no_deaths(deaths: object) -> None:
    assert death_queue({"x-death": deaths}) is None
