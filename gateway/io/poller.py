"""One epoll set for all client sockets, which is itself watched by the event loop.

Some facts about epoll
----------------------

*Why not one reader per socket in the event loop?* Every event loop keeps objects for each descriptor that it watches:
a handle, a callback, a transport with its buffers. The kernel's epoll set (about 200 bytes an entry, epoll(7)) needs
only the descriptor's number. The gateway therefore has an epoll set of its own, and an idle connection needs no Python
object in this process.

*An epoll descriptor can itself be watched.* It is readable while its list of ready descriptors is not empty. The
event loop watches that one descriptor (`add_reader`) and calls `turn` when any client socket is ready. Broker
connections, HTTP and timers stay with the event loop.

*Level-triggered, on purpose.* In the default mode a descriptor stays on the ready list as long as there is something to
read. A handler may therefore read once instead of until EAGAIN, and it is called again if there is more. This takes one
system call for a message instead of two, and a client that sends without pause gets one read per turn, like all others.

*Bounded work.* A turn serves a few small batches and returns. If more descriptors are ready, the set is still readable,
and the event loop calls again after its other callbacks. The kernel moves reported descriptors to the end of the ready
list, so no connection starves, however small the batch is.

*Writing is the exception.* A socket with free space in its send buffer is always writable, so EPOLLOUT would be
reported all the time. It is requested only for a socket whose outbox holds unsent bytes.

*EPOLLHUP and EPOLLERR are always reported.* They are treated as readable: the read that follows returns the error or
the end of the stream, so one code path handles every kind of end.

*Closing removes, unless a duplicate is open.* The set holds open file descriptions, not numbers. A
descriptor that was duplicated (by fork, or dup) stays in the set after close() and continues to be reported under a
number that is no longer open. So `remove` takes it out explicitly, before the close.

*The kernel reuses numbers at once.* After a close, the next accept returns the same number. Within one batch that
cannot happen, since connections are accepted in a separate callback; an event for a descriptor that was closed earlier
in the same batch finds its slot free and is ignored.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

BATCH_COUNT = 64
"""Descriptors served together. Their answers are written after the last of them was read: 0.25 ms of small messages.

With twice as many, a peer on the same machine has nothing to do for so long that its virtual CPU halts; waking it costs
the gateway about 5 % of an echo."""

BATCHES_A_TURN = 4
"""Batches before the event loop runs its other callbacks: 2 ms. One more epoll_wait costs a tenth of one iteration of
the event loop."""

READ, WRITE = select.EPOLLIN, select.EPOLLOUT

Ready = tuple[int, int]
"""A descriptor and its epoll events."""


class Poller:
    """Calls `serve` with batches of ready descriptors."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop, serve: Callable[[list[Ready]], None]) -> None:
        """Make `loop` call `turn` whenever a descriptor is ready. `serve` must not raise."""
        self._loop = loop
        self._serve = serve
        loop.add_reader(self._epoll.fileno(), self.turn)

    def stop(self) -> None:
        """Stop watching and close the epoll set. May be called twice."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop = None
        self._epoll.close()

    def add(self, fd: int) -> None:
        """Start to watch `fd` for input."""
        self._epoll.register(fd, READ)

    def watch(self, fd: int, *, read: bool, write: bool) -> None:
        """Change whether `fd` is watched for input and for output."""
        self._epoll.modify(fd, (READ if read else 0) | (WRITE if write else 0))

    def remove(self, fd: int) -> None:
        """Stop watching `fd`; must be called before it is closed."""
        self._epoll.unregister(fd)

    def turn(self) -> None:
        """Serve ready descriptors, at most BATCHES_A_TURN batches."""
        for _ in range(BATCHES_A_TURN):
            ready = self._epoll.poll(0, BATCH_COUNT)
            if not ready:
                return
            self._serve(ready)
