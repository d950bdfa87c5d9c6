"""The broker over RabbitMQ, 3.10 to 4.x.

Each service has two connections. RabbitMQ slows down fast publishers by not reading from their connection, and
acknowledgements must not be delayed with them. Both connections reconnect by themselves
(`roost.backend.broker.rabbitmq.amqp_connection`); meanwhile publishing is refused at once and consumers get nothing.
Messages are persistent on durable queues. They are confirmed when the queue has stored them: for a quorum queue on the
disks of most of its nodes, for other queues on one (`roost.backend.broker.rabbitmq.queue_arguments`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from aio_pika.abc import AbstractChannel, AbstractQueue

from roost.backend.broker.handling import Handling
from roost.backend.broker.port import BROKER, Handler, QueueSpec, Subscription
from roost.backend.broker.rabbitmq.amqp_connection import AmqpConnection
from roost.backend.broker.rabbitmq.consumer import STALLED_S, Attached, RabbitListener, receive_with
from roost.backend.broker.rabbitmq.publisher import Publisher, declare_fanout
from roost.backend.broker.rabbitmq.queue_arguments import arguments, check_name
from roost.backend.host_lists import each_host
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.errors import Misuse, Unavailable

PREFETCH_MAX = 65_535


class _Startable(Subscription, Protocol):
    async def start(self) -> None: ...


class RabbitBroker:
    """The `Broker` of one service. `url` is ``amqp://user:password@host:port/vhost``, or ``amqps:``.

    For a cluster it names several nodes, ``host:port,host:port``: each connection goes to any available one.
    A consumer that is stalled for `stalled_s` seconds is started again.
    """

    def __init__(self, url: str, clock: Clock = SYSTEM_CLOCK, stalled_s: float = STALLED_S) -> None:
        self._clock, self._stalled_s = clock, stalled_s
        self._in_cluster = len(each_host(url)) > 1
        self._specs: dict[str, QueueSpec] = {}
        self._subscriptions: set[_Startable] = set()
        self._handling = Handling()
        self._consuming = AmqpConnection(url, "consumer", clock, self._restore)
        self._publishing = AmqpConnection(url, "publisher", clock, _nothing)
        self._publisher = Publisher(self._publishing)
        self._is_open = False

    async def start(self) -> None:
        try:
            await self._consuming.start()
            await self._publishing.start()
        except BaseException:
            await self._disconnect()
            raise
        self._is_open = True

    async def declare(self, spec: QueueSpec) -> None:
        self._check_open()
        async with self._consuming.temporary_channel() as channel:
            await self._declare_on(channel, spec)
        self._specs[spec.name] = spec

    async def publish(self, queue: str, body: bytes) -> None:
        self._check_open()
        await self._publisher.publish(queue, body)

    async def consume(self, queue: str, handler: Handler, prefetch: int) -> Subscription:
        self._check_open()
        check_name(queue)
        if prefetch < 1:
            raise Misuse(f"a consumer of {queue} with prefetch {prefetch} would get nothing")
        prefetch = min(prefetch, PREFETCH_MAX)

        async def prepare(channel: AbstractChannel) -> AbstractQueue:
            spec = self._specs.get(queue)  # it may have expired during an outage (P22)
            found = await self._declare_on(channel, spec) if spec else await channel.get_queue(queue)
            await channel.set_qos(prefetch_count=prefetch)
            return found

        receive = receive_with(handler, self._handling)
        attached = Attached(self._consuming, self._clock, prepare, receive, prefetch, stalled_s=self._stalled_s)
        return await self._subscribe(attached)

    async def broadcast(self, fanout: str, body: bytes) -> None:
        if self._is_open:
            await self._publisher.broadcast(fanout, body)

    async def listen(self, fanout: str, handler: Callable[[bytes], None]) -> Subscription:
        self._check_open()
        check_name(fanout)

        async def prepare(channel: AbstractChannel) -> AbstractQueue:
            await declare_fanout(channel, fanout)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind(fanout, routing_key="")
            return queue

        return await self._subscribe(RabbitListener(self._consuming, self._clock, fanout, prepare, handler))

    async def depth(self, queue: str) -> int:
        self._check_open()
        check_name(queue)
        return await self._consuming.depth(queue)

    async def stop(self) -> None:
        self._is_open = False
        subscriptions, self._subscriptions = self._subscriptions, set()
        await asyncio.gather(*(subscription.cancel() for subscription in subscriptions))
        await self._handling.stop()
        await self._disconnect()

    async def _subscribe(self, subscription: _Startable) -> Subscription:
        await subscription.start()
        self._subscriptions.add(subscription)
        return subscription

    async def _restore(self) -> None:
        """Declare all queues again after a reconnect: they may have expired, or be lost with a disk."""
        if self._specs:
            async with self._consuming.temporary_channel() as channel:
                for spec in self._specs.values():
                    await self._declare_on(channel, spec)

    async def _declare_on(self, channel: AbstractChannel, spec: QueueSpec) -> AbstractQueue:
        declared = arguments(spec, self._in_cluster)
        return await channel.declare_queue(spec.name, durable=True, arguments=dict(declared))

    async def _disconnect(self) -> None:
        await self._publisher.stop()
        await asyncio.gather(self._consuming.stop(), self._publishing.stop())

    def _check_open(self) -> None:
        if not self._is_open:
            raise Unavailable(BROKER, "this connection is not started, or stopped")


async def _nothing() -> None: ...
