"""One channel that consumes one queue for as long as the channel lives.

Commands are run one after the other, in the order in which they were given. So an acknowledgement that is given after
the consumer was told to stop does not cause another delivery.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from roost.backend.broker.rabbitmq.amqp_connection import ANSWER_S, CLOSE_S, close, translated
from roost.wire.errors import Misuse, Unavailable

log = logging.getLogger(__name__)

COMMANDS_AT_ONCE = 100
"""This many commands share one timeout, because a timeout costs more than a command."""
Command = Callable[[], Awaitable[Any]]
Receive = Callable[["ConsumerChannel", AbstractIncomingMessage], None]


class ConsumerChannel:
    """Consumes while `wanted`, until `ended` is set.

    Then the broker has taken its unsettled messages back, and settling them has no effect.
    """

    def __init__(
        self, channel: AbstractChannel, queue: AbstractQueue, receive: Receive, no_ack: bool, wanted: bool
    ) -> None:
        self._channel, self._queue, self._receive, self._no_ack = channel, queue, receive, no_ack
        self._commands: deque[Command] = deque()
        self._command_added, self._flushed = asyncio.Event(), asyncio.Event()
        self._tag: str | None = None
        self._is_closing = False
        self.wanted = wanted
        self.ended = asyncio.Event()
        self.queue = queue.name
        self.held: set[int] = set()
        self.activity_count = 0
        self._worker: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin to consume. Raises Unavailable."""
        with translated():
            self._protocol_channel = await self._channel.get_underlay_channel()
            self._channel.close_callbacks.add(lambda *_: self.ended.set())
            self._protocol_channel.on_consumer_cancel_callbacks.add(lambda _: self.ended.set())
            await self._adjust()
        self._worker = asyncio.create_task(self._work())

    def want(self, wanted: bool) -> None:
        """Start or stop taking messages."""
        self.wanted = wanted
        self.activity_count += 1  # silence during a pause is not a stall
        self._enqueue(self._adjust)

    def holds(self, message: AbstractIncomingMessage) -> bool:
        """Return whether settling the message still has an effect."""
        return message.delivery_tag in self.held and not self._is_void()

    def acknowledge(self, message: AbstractIncomingMessage) -> None:
        """Acknowledge the message, if it is still held."""
        if self.holds(message):
            tag = self._remove_held(message)
            self._enqueue(partial(self._protocol_channel.basic_ack, tag, wait=False))

    def give_back(self, message: AbstractIncomingMessage) -> None:
        """Return the message to the queue, if it is still held."""
        if self.holds(message):
            tag = self._remove_held(message)
            # Not nack: from 4.3 it counts against no delivery limit; a bad message would be redelivered for ever.
            self._enqueue(partial(self._protocol_channel.basic_reject, tag, requeue=True, wait=False))

    async def end(self) -> None:
        """Stop consuming, run the commands given before, and give back the other messages."""
        if self._worker is not None and not self._is_void():
            self._is_closing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    self._enqueue(self._flush)
                    await self._flushed.wait()
        self.ended.set()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await close(self._channel)

    def _is_void(self) -> bool:
        return self._is_closing or self.ended.is_set()

    def _remove_held(self, message: AbstractIncomingMessage) -> int:
        assert message.delivery_tag is not None
        self.held.discard(message.delivery_tag)
        return message.delivery_tag

    def _enqueue(self, what: Command) -> None:
        self._commands.append(what)
        self._command_added.set()

    async def _work(self) -> None:
        while True:
            await self._command_added.wait()
            self._command_added.clear()
            while self._commands:
                await self._do_some()

    async def _do_some(self) -> None:
        try:
            with translated():
                async with asyncio.timeout(ANSWER_S):
                    for _ in range(min(COMMANDS_AT_ONCE, len(self._commands))):
                        await self._commands.popleft()()
        except (Unavailable, Misuse) as problem:
            log.debug("channel closed by an error", extra={"action": "channel_void", "reason": str(problem)})
            self.ended.set()
            self._flushed.set()
        except Exception:
            log.exception("channel failed", extra={"action": "channel_failed", "queue": self.queue})
            self.ended.set()
            self._flushed.set()

    async def _flush(self) -> None:
        self._flushed.set()

    async def _adjust(self) -> None:
        """Start or stop consuming, as `wanted` says now."""
        if self.wanted and self._tag is None:
            self._tag = await self._queue.consume(self._on_message, no_ack=self._no_ack, timeout=ANSWER_S)
        elif not self.wanted and self._tag is not None:
            tag, self._tag = self._tag, None
            await self._queue.cancel(tag)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        if self._is_void():
            return
        self.activity_count += 1
        if not self._no_ack and message.delivery_tag is not None:
            self.held.add(message.delivery_tag)
        self._receive(self, message)
