"""One connection to RabbitMQ that comes back by itself, and the one place where the driver's errors become ours.

::

    down --connected and restored--> up --connection lost--> down --stop--> stopped (also from up)

While it is down, whoever asks for a channel is refused at once, and this side tries again and again: first soon, then
less often, with jitter, so that the parts of a cluster do not come back as one crowd. `restore` runs after each
connect, before anybody else gets a channel: it declares what the outage may have removed. Channels die with their
connection; whoever has one opens another, see `until_up`.

aio-pika's "robust" connections are not used: they bring back consumers at a time of their own, do not say which
deliveries are void meanwhile, and "reconnected, but no consumer" is known of them.
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
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # an outage is told here, once, and is nobody's ERROR

HEARTBEAT_S = 10
"""A dead peer is noticed after three missed ones, not after the driver's three minutes."""
CONNECT_S = 5.0
ANSWER_S = 5.0
"""Longer than a healthy broker needs under load, shorter than a client's patience."""
CLOSE_S = 2.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0

OUTAGES = (AMQPError, PAMQPException, OSError, TimeoutError, RuntimeError)
"""The driver says RuntimeError when what it is asked to use was closed meanwhile."""


@contextmanager
def translated(what: str = BROKER) -> Iterator[None]:
    """Raise Misuse for "exists, but otherwise" (406), Unavailable for whatever else goes wrong with the broker."""
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
        raise Unavailable(what, "the connection was closed") from problem  # the driver ends waiting calls so


def _reason(problem: BaseException) -> str:
    if isinstance(problem, TimeoutError):
        return "it does not answer"
    if isinstance(problem, InvalidFrameError):  # how the driver tells of a close where it expects consent
        return "it refused the connection: is there such a virtual host, and may this user enter it?"
    return str(problem) or type(problem).__name__


def _tuned(url: URL, purpose: str) -> URL:
    url = url.update_query(name=f"roost {purpose}")
    return url if "heartbeat" in url.query else url.update_query(heartbeat=HEARTBEAT_S)


async def close(what: AbstractChannel | AbstractConnection) -> None:
    """Close a channel or connection, however it is; do not wait long for a broker that says nothing."""
    with suppress(Unavailable, Misuse), translated():
        async with asyncio.timeout(CLOSE_S):
            await what.close()


class AmqpConnection:
    """A connection to any one of the hosts of `url`, which may name its heartbeat.

    `restore` may raise Unavailable, and then another host is tried, or the same again.
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
        """A new channel; with `confirms`, one whose publishing tells what became of it. Raises Unavailable."""
        if self._connection is None or self._lost.is_set():
            raise Unavailable(BROKER, "not connected at the moment")
        with translated():
            async with asyncio.timeout(ANSWER_S):
                return await self._connection.channel(publisher_confirms=confirms, on_return_raises=confirms)

    @asynccontextmanager
    async def temporary_channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel for one question, whose errors are translated. Raises Unavailable, Misuse."""
        channel = await self.channel()
        try:
            with translated():
                async with asyncio.timeout(ANSWER_S):
                    yield channel
        finally:
            await close(channel)

    async def depth(self, queue: str) -> int:
        """Messages that wait in a queue. Raises Unavailable."""
        async with self.temporary_channel() as channel:
            answer = (await channel.declare_queue(queue, passive=True)).declaration_result
            return answer.message_count or 0

    async def until_up(self) -> None:
        """Return when there is a connection."""
        await self._up.wait()

    async def stop(self) -> None:
        """Disconnect; what the broker has not heard yet is lost. Fine to call twice, or without start."""
        keep_task, self._keep_task = self._keep_task, None
        if keep_task is not None:
            keep_task.cancel()
            await asyncio.gather(keep_task, return_exceptions=True)
        await self._drop()

    async def _connect(self) -> None:
        """Be up with the first host, in random order, that serves; or raise the last one's Unavailable and be down."""
        *others, last = random.sample(self._urls, len(self._urls))  # so that the parts spread over the cluster
        for url in others:
            try:
                return await self._connect_to(url)
            except Unavailable as problem:
                extra = {"action": "host_passed_over", "host": url.host, "reason": problem.reason}
                log.debug("broker's host passed over", extra=extra)
        return await self._connect_to(last)

    async def _connect_to(self, url: URL) -> None:
        with translated(f"{BROKER} at {url.host}:{url.port or 5672}"):
            self._connection = await aio_pika.connect(url, timeout=CONNECT_S)
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
            log.warning("broker away", extra={"action": "broker_away", "link": self._purpose})
            await self._drop()
            await self._come_back()
            log.warning("broker back", extra={"action": "broker_back", "link": self._purpose})

    async def _come_back(self) -> None:
        pause_s = BACKOFF_S
        while True:
            await self._clock.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311  spreads the parts out
            pause_s = min(2 * pause_s, BACKOFF_MAX_S)
            try:
                return await self._connect()
            except Unavailable as problem:
                log.debug("broker still away", extra={"action": "broker_still_away", "reason": problem.reason})
            except Exception:  # with no keep_task this part would never come back
                log.exception("connecting failed", extra={"action": "connect_failed", "link": self._purpose})

    async def _drop(self) -> None:
        self._up.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection)
