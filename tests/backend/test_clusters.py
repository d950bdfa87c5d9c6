"""Several hosts in one URL: whoever serves is found, whoever is down is passed over, nothing safe is lost with one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from bench.support import services
from bench.support.waiting import until
from roost.backend.broker import topology
from roost.backend.broker.port import QueueSpec
from roost.backend.broker.rabbitmq.amqp_connection import AmqpConnection
from roost.backend.broker.rabbitmq.rabbitmq_broker import RabbitBroker
from roost.backend.cache.redis_cache import RedisCache
from roost.wire.errors import Unavailable
from tests import clusters
from tests.backend.broker.contract_broker import Inbox, publish
from tests.backend.cache.contract_cache import LONG_S, key

pytestmark = pytest.mark.engines

TRIES = 8
"""With two hosts in random order, one try in two begins with the dead one."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[clusters.RabbitCluster]:
    cluster = clusters.rabbit_cluster()
    yield cluster
    cluster.kill()  # the tests of other modules need the machine


@pytest.fixture
def cluster(nodes: clusters.RabbitCluster) -> clusters.RabbitCluster:
    nodes.start()
    return nodes


@pytest.fixture
async def broker(cluster: clusters.RabbitCluster) -> AsyncIterator[RabbitBroker]:
    broker = RabbitBroker(cluster.url(nobody()))
    await broker.start()
    yield broker
    await broker.stop()


def nobody() -> str:
    return f"{services.LOOPBACK}:{services.free_port()}"


def node_of(link: AmqpConnection, cluster: clusters.RabbitCluster) -> services.RabbitMq:
    """The node that the link is connected to."""
    connection = link._connection
    assert connection is not None
    port = connection.url.port  # type: ignore[attr-defined]
    return next(node for node in cluster.nodes if node.port == port)


# --- RabbitMQ ---------------------------------------------------------------------------------------


async def test_a_host_that_is_down_is_passed_over() -> None:
    node = services.rabbitmq()
    for _ in range(TRIES):
        broker = RabbitBroker(f"amqp://guest:guest@{nobody()},{services.LOOPBACK}:{node.port}/")
        await broker.start()
        await broker.declare(QueueSpec("test.passed-over", expires_s=60.0))
        await broker.stop()


async def test_when_nobody_serves_it_is_an_outage_that_does_not_tell_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    node = services.rabbitmq()
    broker = RabbitBroker(f"amqp://guest:hunter2@{nobody()},{services.LOOPBACK}:{node.port},{nobody()}/")
    for _ in range(TRIES):
        with pytest.raises(Unavailable) as refusal:
            await broker.start()
        assert "hunter2" not in str(refusal.value)
    assert "hunter2" not in " ".join(str(record.__dict__) for record in caplog.records if record.name != "asyncio")


@pytest.mark.parametrize("of", ["consumer", "publisher"])
async def test_after_kill_9_of_its_node_a_part_goes_on_at_another_and_nothing_confirmed_is_lost(
    cluster: clusters.RabbitCluster, broker: RabbitBroker, of: str
) -> None:
    safe, mail = QueueSpec(f"test.cluster.{of}"), topology.task_results(f"cluster.{of}")
    inbox, letters = Inbox(), Inbox()
    for spec in (safe, mail):
        await broker.declare(spec)
    await publish(broker, safe.name, b"in hand", b"waits")
    await publish(broker, mail.name, b"letter")
    await broker.consume(safe.name, inbox, 1)
    await broker.consume(mail.name, letters, 1)
    await inbox.next()
    await letters.next()
    await until(lambda: all(node.has_on_disk(queue.name) for node in cluster.nodes for queue in (safe, mail)))

    node = node_of(broker._consuming if of == "consumer" else broker._publishing, cluster)
    await asyncio.to_thread(node.kill)

    async def is_taken(queue: str, body: bytes) -> bool:
        try:
            await broker.publish(queue, body)
        except Unavailable:
            return False
        return True

    await until(lambda: is_taken(safe.name, b"after"))
    await until(lambda: is_taken(mail.name, b"letter after"))
    await until(lambda: settled(inbox, b"in hand", b"waits", b"after"))
    await until(lambda: settled(letters, b"letter", b"letter after"))


def settled(inbox: Inbox, *bodies: bytes) -> bool:
    """Acknowledge whatever came; whether these have come."""
    for delivery in inbox.all:
        delivery.acknowledge()
    return set(bodies) <= set(inbox.bodies())


# --- Redis ------------------------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[clusters.WatchedRedis]:
    redis = clusters.watched_redis()
    yield redis
    redis.kill()


async def test_when_the_master_is_killed_the_cache_goes_on_at_the_replica(
    redis: clusters.WatchedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await until(lambda: all(sentinel.is_ready() for sentinel in redis.sentinels))
    cache = RedisCache(redis.url(nobody()))
    await cache.start()
    name = key("value")
    await cache.put(name, b"before", LONG_S)
    assert await cache.get(name) == b"before"
    await asyncio.to_thread(redis.sentinels[0].kill)
    await asyncio.to_thread(redis.master.kill)
    assert await cache.get(name) is None

    async def is_kept() -> bool:
        await cache.put(name, b"after", LONG_S)
        return await cache.get(name) == b"after"

    await until(is_kept)
    assert redis.sentinels[1].master_port() == redis.replica.port
    actions = [record.__dict__["action"] for record in caplog.records if "action" in record.__dict__]
    assert actions == ["cache_away", "cache_back"]
    await cache.stop()


async def test_without_a_sentinel_everything_is_a_miss_and_no_password_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = RedisCache(f"redis+sentinel://user:hunter2@{nobody()},{nobody()}/roost/0?sentinel_password=hunter3")
    await cache.start()
    await cache.put(b"key", b"value", LONG_S)
    assert await cache.get(b"key") is None
    assert caplog.records
    assert "hunter" not in " ".join(str(record.__dict__) for record in caplog.records)
    await cache.stop()
