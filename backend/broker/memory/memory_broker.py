"""The embedded broker: it keeps every promise of the port inside one process, on one event loop.

`MemoryBroker` takes the role of the server; `connect` returns a connection for one service, which starts and stops it.
`roost.backend.broker.memory.queues` decides what happens to messages. This module runs the handlers as tasks, and one
sleeping task calls the queues when the next message or queue expires. Nothing survives the process, durable or not.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from roost.backend.broker.handling import Handling
from roost.backend.broker.memory.queue import Consumer, Handover
from roost.backend.broker.memory.queues import Queues
from roost.backend.broker.port import Handler, QueueSpec
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.errors import Unavailable

log = logging.getLogger(__name__)


class MemoryBroker:
    """The queues and fanouts that the services of one process share."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.queues = Queues()
        self.runners: dict[Consumer, Callable[[Handover], None]] = {}
        self.listeners: dict[str, list[MemoryListener]] = {}
        self._clock = clock
        self._connections: set[MemoryConnection] = set()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf

    def connect(self) -> MemoryConnection:
        """Return a new connection for one service, which must start and stop it."""
        return MemoryConnection(self)

    def opened(self, connection: MemoryConnection) -> None:
        """Register an open connection. Expiry is processed while at least one connection is open."""
        self._connections.add(connection)
        self.now()

    def closed(self, connection: MemoryConnection) -> None:
        """Remove a connection. After the last one no timer runs; expiry is processed at the next `opened`."""
        self._connections.discard(connection)
        if not self._connections:
            self._set_alarm(math.inf)

    def now(self) -> float:
        """Process everything that is due and return the time (monotonic seconds)."""
        now = self._clock.monotonic()
        self.carry_out(self.queues.pass_time(now))
        return now

    def carry_out(self, handovers: list[Handover]) -> None:
        """Start the handlers of these deliveries, and set the timer for the next expiry."""
        for handover in handovers:
            self.runners[handover.consumer](handover)
        if self._connections and self.queues.due_at < self._alarm_at:
            self._set_alarm(self.queues.due_at)

    def _set_alarm(self, due_at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due_at
        self._alarm = None if due_at == math.inf else asyncio.get_running_loop().create_task(self._wake_at(due_at))

    async def _wake_at(self, due_at: float) -> None:
        await self._clock.sleep(max(0.0, due_at - self._clock.monotonic()))
        self._alarm, self._alarm_at = None, math.inf
        self.now()


class MemoryDelivery:
    """A `Delivery` of the embedded broker."""

    __slots__ = ("_handover", "_server", "body", "died_in", "queue", "redelivered")

    def __init__(self, server: MemoryBroker, handover: Handover) -> None:
        self._server, self._handover = server, handover
        self.body = handover.message.body
        self.died_in = handover.message.died_in
        self.queue = handover.consumer.queue.spec.name
        self.redelivered = handover.redelivered

    def acknowledge(self) -> None:
        self._server.now()
        self._server.carry_out(self._server.queues.acknowledge(self._handover))

    def give_back(self) -> None:
        now = self._server.now()
        self._server.carry_out(self._server.queues.give_back(self._handover, now))


class MemorySubscription:
    """A consumer of a queue; each message becomes a task that awaits the handler."""

    def __init__(self, connection: MemoryConnection, queue: str, handler: Handler, prefetch: int) -> None:
        self._connection, self._handler = connection, handler
        self._server = connection.server
        self._server.now()
        self._consumer, handovers = self._server.queues.add_consumer(queue, prefetch)
        self._server.runners[self._consumer] = self._run
        self._server.carry_out(handovers)

    def pause(self) -> None:
        self._server.queues.pause(self._consumer)

    def resume(self) -> None:
        self._server.now()
        self._server.carry_out(self._server.queues.resume(self._consumer))

    async def cancel(self) -> None:
        self.end()

    def end(self) -> None:
        """Remove the consumer; its unsettled messages go back to the queue."""
        now = self._server.now()
        handovers = self._server.queues.remove_consumer(self._consumer, now)
        self._server.runners.pop(self._consumer, None)
        self._server.carry_out(handovers)
        self._connection.subscriptions.discard(self)

    def _run(self, handover: Handover) -> None:
        self._connection.handling.start(self._handler, MemoryDelivery(self._server, handover), handover.is_unsettled)


class MemoryListener:
    """A listener to the broadcasts of a fanout."""

    def __init__(self, connection: MemoryConnection, fanout: str, handler: Callable[[bytes], None]) -> None:
        self._connection, self._fanout, self._handler = connection, fanout, handler
        self._peers = connection.server.listeners.setdefault(fanout, [])
        self._peers.append(self)
        self._paused = False

    def receive(self, body: bytes) -> None:
        """Call the handler, unless this listener has been paused or cancelled meanwhile."""
        if self._paused or self not in self._peers:
            return
        try:
            self._handler(body)
        except Exception:
            log.exception("broadcast handler failed", extra={"action": "handler_failed", "fanout": self._fanout})

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    async def cancel(self) -> None:
        self.end()

    def end(self) -> None:
        """Stop receiving broadcasts."""
        if self in self._peers:
            self._peers.remove(self)
        self._connection.subscriptions.discard(self)


class MemoryConnection:
    """The connection of one service to a `MemoryBroker`."""

    def __init__(self, server: MemoryBroker) -> None:
        self.server = server
        self.subscriptions: set[MemorySubscription | MemoryListener] = set()
        self.handling = Handling()
        self._open = False

    async def start(self) -> None:
        self._open = True
        self.server.opened(self)

    async def declare(self, spec: QueueSpec) -> None:
        self._check_open()
        self.server.queues.declare(spec, self.server.now())
        self.server.carry_out([])  # the queue itself may be the next to expire

    async def publish(self, queue: str, body: bytes) -> None:
        self._check_open()
        now = self.server.now()
        self.server.carry_out(self.server.queues.publish(queue, body, now))
        await asyncio.sleep(0)  # as with any broker, a confirm takes at least one turn of the loop

    async def consume(self, queue: str, handler: Handler, prefetch: int) -> MemorySubscription:
        self._check_open()
        subscription = MemorySubscription(self, queue, handler, prefetch)
        self.subscriptions.add(subscription)
        return subscription

    async def broadcast(self, fanout: str, body: bytes) -> None:
        if self._open:
            for listener in self.server.listeners.get(fanout, ()):
                asyncio.get_running_loop().call_soon(listener.receive, body)

    async def listen(self, fanout: str, handler: Callable[[bytes], None]) -> MemoryListener:
        self._check_open()
        listener = MemoryListener(self, fanout, handler)
        self.subscriptions.add(listener)
        return listener

    async def depth(self, queue: str) -> int:
        self._check_open()
        self.server.now()
        return self.server.queues.depth(queue)

    async def stop(self) -> None:
        self._open = False
        for subscription in list(self.subscriptions):
            subscription.end()
        self.server.closed(self)
        await self.handling.stop()

    def _check_open(self) -> None:
        if not self._open:
            raise Unavailable("the broker", "this connection is not started, or stopped")
