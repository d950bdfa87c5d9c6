"""One connection to RabbitMQ that reconnects by itself, and the translation of the driver's errors.

::

    down --connected and restored--> up --connection lost--> down --stop--> stopped (also from up)

While it is down, a request for a channel fails at once, and the connection is retried with exponential backoff and
jitter, so that the services of a cluster do not reconnect all at once. `restore` runs after each connect, before other
callers get a channel: it declares what the outage may have removed. Channels are closed with their connection; their
users wait with `until_up` and open new ones.

aio-pika's "robust" connections are not used: they restore consumers at a time that the caller does not control, do not
tell which deliveries have become void, and have a known fault of "reconnected, but no consumer".
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed, InvalidFrameError
from pamqp.exceptions import PAMQPException
from yarl import URL

from roost.backend.broker.port import BROKER
from roost.backend.host_lists import each_host
from roost.wire.clock import Clock
from roost.wire.errors import Misuse, Unavailable

log = logging.getLogger(__name__)
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # this module logs an outage once, and not as an ERROR

HEARTBEAT_S = 10
"""A dead peer is detected after three missed heartbeats; the driver's default takes three minutes."""
CONNECT_S = 5.0
ANSWER_S = 5.0
"""Longer than a healthy broker needs under load, and shorter than clients wait for an answer."""
CLOSE_S = 2.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0

OUTAGES = (AMQPError, PAMQPException, OSError, TimeoutError, RuntimeError)
"""The driver raises RuntimeError when the connection or channel that it should use was closed meanwhile."""


@contextmanager
def translated(what: str = BROKER) -> Iterator[None]:
    """Translate errors of the driver: PRECONDITION_FAILED (406) to Misuse, all others to Unavailable."""
    try:
        yield
    except ChannelPreconditionFailed as problem:
        raise Misuse(str(problem)) from problem
    except OUTAGES as problem:
        raise Unavailable(what, _reason(problem)) from problem
    except asyncio.CancelledError as problem:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable(what, "the connection was closed") from problem  # so the driver ends waiting calls


def _reason(problem: BaseException) -> str:
    if isinstance(problem, TimeoutError):
        return "it does not answer"
    if isinstance(problem, InvalidFrameError):  # the driver raises this when it is refused while connecting
        return "it refused the connection: is there such a virtual host, and may this user enter it?"
    return str(problem) or type(problem).__name__


def _tuned(url: URL, purpose: str) -> URL:
    url = url.update_query(name=f"roost {purpose}")
    return url if "heartbeat" in url.query else url.update_query(heartbeat=HEARTBEAT_S)


async def _connected(url: URL) -> AbstractConnection:
    """Connect. The driver's `connect` leaves a connection that failed open, which the garbage collector then closes."""
    connection = aio_pika.Connection(url)
    try:
        await connection.connect(timeout=CONNECT_S)
    except BaseException:
        await close(connection)
        raise
    return connection


async def close(what: AbstractChannel | AbstractConnection) -> None:
    """Close a channel or connection in any state. Waits at most `CLOSE_S` for the broker."""
    with suppress(Unavailable, Misuse), translated():
        async with asyncio.timeout(CLOSE_S):
            await what.close()


class AmqpConnection:
    """A connection to any one of the hosts of `url`, which may set the heartbeat interval.

    If `restore` raises Unavailable, the connection is closed, and another host, or the same one, is tried.
    """

    def __init__(self, url: str, purpose: str, clock: Clock, restore: Callable[[], Awaitable[None]]) -> None:
        self._urls = [_tuned(URL(single), purpose) for single in each_host(url)]
        self._purpose, self._clock, self._restore = purpose, clock, restore
        self._connection: AbstractConnection | None = None
        self._up, self._lost = asyncio.Event(), asyncio.Event()
        self._keep_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises Unavailable."""
        await self._connect()
        self._keep_task = asyncio.create_task(self._keep())

    async def channel(self, confirms: bool = False) -> AbstractChannel:
        """Return a new channel, with `confirms` one with publisher confirms. Raises Unavailable."""
        if self._connection is None or self._lost.is_set():
            raise Unavailable(BROKER, "not connected at the moment")
        with translated():
            async with asyncio.timeout(ANSWER_S):
                return await self._connection.channel(publisher_confirms=confirms, on_return_raises=confirms)

    @asynccontextmanager
    async def temporary_channel(self) -> AsyncIterator[AbstractChannel]:
        """Open a channel for a single call, with errors translated. Raises Unavailable or Misuse."""
        channel = await self.channel()
        try:
            with translated():
                async with asyncio.timeout(ANSWER_S):
                    yield channel
        finally:
            await close(channel)

    async def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue. Raises Unavailable."""
        async with self.temporary_channel() as channel:
            answer = (await channel.declare_queue(queue, passive=True)).declaration_result
            return answer.message_count or 0

    async def until_up(self) -> None:
        """Wait until there is a connection."""
        await self._up.wait()

    async def stop(self) -> None:
        """Disconnect. What was not sent yet is lost. It may be called twice, or without `start`."""
        keep_task, self._keep_task = self._keep_task, None
        if keep_task is not None:
            keep_task.cancel()
            await asyncio.gather(keep_task, return_exceptions=True)
        await self._drop()

    async def _connect(self) -> None:
        """Connect to the first available host, in random order. Raises the Unavailable of the last host."""
        *others, last = random.sample(self._urls, len(self._urls))  # random, to spread connections over the cluster
        for url in others:
            try:
                return await self._connect_to(url)
            except Unavailable as problem:
                extra = {"action": "host_passed_over", "host": url.host, "reason": problem.reason}
                log.debug("broker host skipped", extra=extra)
        return await self._connect_to(last)

    async def _connect_to(self, url: URL) -> None:
        with translated(f"{BROKER} at {url.host}:{url.port or 5672}"):
            self._connection = await _connected(url)
        self._lost.clear()
        self._connection.close_callbacks.add(self._on_close)
        try:
            await self._restore()
            if not self._connection.connected.is_set():
                raise Unavailable(BROKER, "it closed the connection at once")
        except BaseException:
            await self._drop()
            raise
        self._up.set()

    def _on_close(self, connection: AbstractConnection | None, _: BaseException | None) -> None:
        if connection is self._connection:
            self._up.clear()
            self._lost.set()

    async def _keep(self) -> None:
        while True:
            await self._lost.wait()
            log.warning("broker connection lost", extra={"action": "broker_away", "link": self._purpose})
            await self._drop()
            await self._come_back()
            log.warning("broker connection restored", extra={"action": "broker_back", "link": self._purpose})

    async def _come_back(self) -> None:
        pause_s = BACKOFF_S
        while True:
            await self._clock.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311  spreads reconnects
            pause_s = min(2 * pause_s, BACKOFF_MAX_S)
            try:
                return await self._connect()
            except Unavailable as problem:
                log.debug("broker still unavailable", extra={"action": "broker_still_away", "reason": problem.reason})
            except Exception:  # if this task ended, the connection would never come back
                log.exception("connecting failed", extra={"action": "connect_failed", "link": self._purpose})

    async def _drop(self) -> None:
        self._up.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection)
