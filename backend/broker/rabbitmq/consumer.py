"""Consuming from RabbitMQ: a subscription outlives its channels, a delivery does not.

A subscription has one attachment at a time. When that ends (the connection is lost, the broker closes the channel or
cancels the consumer, the watchdog finds it deaf), what it had in hand goes back to the queue by itself, settling it
does nothing any more, and the subscription attaches itself anew.

The watchdog: messages that wait, and a consumer with prefetch for them that has heard nothing for `STALLED_S`, do not go
together. That state is a known fault of clients and brokers alike ("reconnected, but no consumer").
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
SOON_S = 0.1
LATER_S = 1.0
"""Before attaching again: the first time, and after that did not work (the queue is gone, or has no leader yet)."""

Prepare = Callable[[AbstractChannel], Awaitable[AbstractQueue]]
"""Makes a channel ready to consume the queue that it returns."""


class Attached:
    """Consumes a queue until it is cancelled, over as many attachments as that takes. `prefetch` is its prefetch."""

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
        """Consume. Raises Misuse, Unavailable."""
        attachment = await self._attach()
        self._keeper = asyncio.create_task(self._keep(attachment))

    def pause(self) -> None:
        """Take nothing."""
        self._want(False)

    def resume(self) -> None:
        """Take messages again."""
        self._want(True)

    async def cancel(self) -> None:
        """End. Fine to call twice."""
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
                log.warning("deaf consumer", extra={"action": "consumer_deaf", "queue": attachment.queue})
                return

    def _has_capacity(self, attachment: ConsumerChannel) -> bool:
        return len(attachment.held) < self._prefetch and not self._is_paused

    async def _is_backlog(self, attachment: ConsumerChannel) -> bool:
        try:
            return await self._connection.depth(attachment.queue) > 0
        except Unavailable:
            return False  # then the connection is being seen to

    async def _attach_again(self) -> ConsumerChannel:
        await self._clock.sleep(SOON_S)
        while True:
            await self._connection.until_up()
            try:
                return await self._attach()
            except (Unavailable, Misuse) as problem:
                log.warning("not consuming", extra={"action": "attach_failed", "reason": str(problem)})
            except Exception:  # with no keeper this consumer would never come back
                log.exception("attaching failed", extra={"action": "attach_bug"})
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
    """One message in the hands of a consumer."""

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
    """Each message becomes a task that awaits the handler."""

    def receive(attachment: ConsumerChannel, message: AbstractIncomingMessage) -> None:
        handling.start(handler, RabbitDelivery(attachment, message), partial(attachment.holds, message))

    return receive


class RabbitListener:
    """Somebody who hears a fanout's broadcasts, through a queue that lives as long as the channel."""

    def __init__(
        self, connection: AmqpConnection, clock: Clock, fanout: str, prepare: Prepare, handler: Callable[[bytes], None]
    ) -> None:
        self._fanout, self._handler = fanout, handler
        self._is_paused = False
        self._attached = Attached(connection, clock, prepare, self._on_message, prefetch=1, no_ack=True)

    async def start(self) -> None:
        """Listen. Raises Unavailable."""
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
