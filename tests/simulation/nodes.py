"""Processes that can be killed: every task knows whose it is, and a dead process has no effect on anything."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from roost.backend.broker.handling import Handling
from roost.backend.broker.memory.memory_broker import MemoryBroker, MemoryConnection
from roost.backend.broker.port import Delivery, Handler
from roost.wire.clock import Clock
from roost.wire.errors import Unavailable
from tests.simulation.loop import PAUSE, Pause

T = TypeVar("T")

_current: contextvars.ContextVar[Node | None] = contextvars.ContextVar("node", default=None)


class Node:
    """One process, from its start until it is killed; the next life is another Node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.on_kill: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._context = contextvars.copy_context()
        self._context.run(_current.set, self)
        self.pause = Pause()
        self._context.run(PAUSE.set, self.pause)

    def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call it as this process would: tasks that it starts are this process's."""
        return self._context.copy().run(function, *arguments)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process."""
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())

    def kill(self) -> None:
        """kill -9: it does nothing more, not even what stands in a `finally`."""
        self.is_dead = True
        for act in self.on_kill:
            act()
        for task in list(self._tasks):
            task.cancel()

    async def alive(self) -> None:
        """Every effect passes here; the dead wait for ever."""
        if self.is_dead:
            await asyncio.get_running_loop().create_future()

    def _adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def current() -> Node | None:
    """Whose code runs."""
    return _current.get()


def make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """The loop's task factory."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    context = options.get("context")
    node = context.get(_current) if context is not None else _current.get()
    if node is not None:
        node._adopt(task)
        if node.is_dead:
            task.cancel()
    return task


class _OwnHandling(Handling):
    """Handlers belong to who consumes, whoever it is whose call brought the message."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node

    def start(self, handler: Handler, delivery: Delivery, is_held: Callable[[], bool]) -> None:
        self._node.run(super().start, handler, _OwnDelivery(delivery, self._node), is_held)


class _OwnDelivery:
    """A message whose consumer may be dead: then it settles nothing."""

    def __init__(self, delivery: Delivery, node: Node) -> None:
        self._delivery, self._node = delivery, node
        self.body, self.queue = delivery.body, delivery.queue
        self.died_in, self.redelivered = delivery.died_in, delivery.redelivered

    def acknowledge(self) -> None:
        if not self._node.is_dead:
            self._delivery.acknowledge()

    def give_back(self) -> None:
        if not self._node.is_dead:
            self._delivery.give_back()


class OwnBroker(MemoryBroker):
    """The broker as a process of its own: its time passes whoever of its clients dies or stands still."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._own = contextvars.copy_context()

    def _set_alarm(self, due_at: float) -> None:
        self._own.copy().run(super()._set_alarm, due_at)


class NodeConnection(MemoryConnection):
    """A process's connection to the broker. `trouble` says what happens to a publish: "", "before" or "after"."""

    def __init__(
        self, server: MemoryBroker, node: Node, trouble: Callable[[], str], delay: Callable[[], float]
    ) -> None:
        super().__init__(server)
        self.handling = _OwnHandling(node)
        self._node, self._trouble, self._delay = node, trouble, delay
        node.on_kill.append(self._cut)

    async def publish(self, queue: str, body: bytes) -> None:
        await self._node.alive()
        await asyncio.sleep(self._delay())
        trouble = self._trouble()
        if trouble != "before":
            await super().publish(queue, body)
        await self._node.alive()
        if trouble:
            raise Unavailable("the broker", "simulated")

    async def broadcast(self, fanout: str, body: bytes) -> None:
        await self._node.alive()
        await asyncio.sleep(self._delay())
        if not self._trouble():
            await super().broadcast(fanout, body)

    def _cut(self) -> None:
        """The server sees the connection break: unsettled messages go back."""
        self._open = False
        for subscription in list(self.subscriptions):
            subscription.end()
        self.server.closed(self)
