"""Consuming from RabbitMQ: a subscription outlives its channels; a delivery does not.

A subscription has one attachment (a consuming channel) at a time. An attachment ends when the connection is lost, when
the broker closes the channel or cancels the consumer, or when the watchdog finds the consumer stalled. Then its
unsettled messages go back to the queue, settling them has no effect any more, and the subscription attaches again.

The watchdog: a consumer is stalled when messages wait in its queue and it could take more, but it has received nothing
for `STALLED_S`. This is a known fault of clients and brokers ("reconnected, but no consumer").
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from roost.backend.broker.handling import Handling
from roost.backend.broker.port import Handler
from roost.backend.broker.rabbitmq.amqp_connection import ANSWER_S, AmqpConnection, close, translated
from roost.backend.broker.rabbitmq.channel import ConsumerChannel, Receive
from roost.backend.broker.rabbitmq.queue_arguments import death_queue
from roost.wire.clock import Clock
from roost.wire.errors import Misuse, Unavailable

log = logging.getLogger(__name__)

STALLED_S = 30.0
"""A consumer that could receive messages and receives none for this long (seconds) is checked, see above."""
SOON_S = 0.1
LATER_S = 1.0
"""Pause before attaching again: the first time, and after a failure (the queue is gone, or has no leader yet)."""

Prepare = Callable[[AbstractChannel], Awaitable[AbstractQueue]]
"""Prepares a channel and returns the queue to consume on it."""


class Attached:
    """Consumes a queue until it is cancelled, over as many attachments as necessary."""

    def __init__(
        self,
        connection: AmqpConnection,
        clock: Clock,
        prepare: Prepare,
        receive: Receive,
        prefetch: int,
        no_ack: bool = False,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._connection, self._clock, self._prepare, self._receive = connection, clock, prepare, receive
        self._prefetch, self._no_ack, self._stalled_s = prefetch, no_ack, stalled_s
        self._is_paused = False
        self._now: ConsumerChannel | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to consume. Raises Misuse or Unavailable."""
        attachment = await self._attach()
        self._keeper = asyncio.create_task(self._keep(attachment))

    def pause(self) -> None:
        """Stop taking messages."""
        self._want(False)

    def resume(self) -> None:
        """Take messages again."""
        self._want(True)

    async def cancel(self) -> None:
        """Stop consuming. It may be called twice."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        attachment, self._now = self._now, None
        if attachment is not None:
            await attachment.end()

    def _want(self, wanted: bool) -> None:
        self._is_paused = not wanted
        if self._now is not None:
            self._now.want(wanted)

    async def _keep(self, attachment: ConsumerChannel) -> None:
        while True:
            await self._until_ended_or_stalled(attachment)
            await attachment.end()
            attachment = await self._attach_again()

    async def _until_ended_or_stalled(self, attachment: ConsumerChannel) -> None:
        while True:
            activity_before, had_capacity = attachment.activity_count, self._has_capacity(attachment)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._stalled_s):
                    await attachment.ended.wait()
                    return
            is_idle = had_capacity and activity_before == attachment.activity_count and self._has_capacity(attachment)
            if is_idle and await self._is_backlog(attachment):
                log.warning("consumer stalled", extra={"action": "consumer_deaf", "queue": attachment.queue})
                return

    def _has_capacity(self, attachment: ConsumerChannel) -> bool:
        return len(attachment.held) < self._prefetch and not self._is_paused

    async def _is_backlog(self, attachment: ConsumerChannel) -> bool:
        try:
            return await self._connection.depth(attachment.queue) > 0
        except Unavailable:
            return False  # then the connection is being restored

    async def _attach_again(self) -> ConsumerChannel:
        await self._clock.sleep(SOON_S)
        while True:
            await self._connection.until_up()
            try:
                return await self._attach()
            except (Unavailable, Misuse) as problem:
                log.warning("attaching the consumer failed", extra={"action": "attach_failed", "reason": str(problem)})
            except Exception:  # if this task ended, the consumer would never come back
                log.exception("attaching the consumer failed by a bug", extra={"action": "attach_bug"})
            await self._clock.sleep(LATER_S)

    async def _attach(self) -> ConsumerChannel:
        channel = await self._connection.channel()
        try:
            with translated():
                async with asyncio.timeout(ANSWER_S):
                    queue = await self._prepare(channel)
            attachment = ConsumerChannel(channel, queue, self._receive, self._no_ack, wanted=not self._is_paused)
            self._now = attachment
            await attachment.begin()
        except BaseException:
            await close(channel)
            raise
        return attachment


class RabbitDelivery:
    """A `Delivery` of RabbitMQ."""

    __slots__ = ("_attachment", "_message", "body", "died_in", "queue", "redelivered")

    def __init__(self, attachment: ConsumerChannel, message: AbstractIncomingMessage) -> None:
        self._attachment, self._message = attachment, message
        self.body = message.body
        self.queue = attachment.queue
        self.died_in = death_queue(message.headers)
        self.redelivered = bool(message.redelivered)

    def acknowledge(self) -> None:
        self._attachment.acknowledge(self._message)

    def give_back(self) -> None:
        self._attachment.give_back(self._message)


def receive_with(handler: Handler, handling: Handling) -> Receive:
    """Return a function that starts a task with `handler` for each message."""

    def receive(attachment: ConsumerChannel, message: AbstractIncomingMessage) -> None:
        handling.start(handler, RabbitDelivery(attachment, message), partial(attachment.holds, message))

    return receive


class RabbitListener:
    """A listener to the broadcasts of a fanout, through a queue that lives as long as the channel."""

    def __init__(
        self, connection: AmqpConnection, clock: Clock, fanout: str, prepare: Prepare, handler: Callable[[bytes], None]
    ) -> None:
        self._fanout, self._handler = fanout, handler
        self._is_paused = False
        self._attached = Attached(connection, clock, prepare, self._on_message, prefetch=1, no_ack=True)

    async def start(self) -> None:
        """Begin to listen. Raises Unavailable."""
        await self._attached.start()

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False

    async def cancel(self) -> None:
        self._is_paused = True
        await self._attached.cancel()

    def _on_message(self, _: ConsumerChannel, message: AbstractIncomingMessage) -> None:
        if self._is_paused:
            return
        try:
            self._handler(message.body)
        except Exception:
            log.exception("broadcast handler failed", extra={"action": "handler_failed", "fanout": self._fanout})
