"""All client sockets in one epoll set, and that set in the event loop.

Some facts about epoll
----------------------

*Why not one reader per socket in the event loop?* Whatever loop it is, it keeps objects for every descriptor
it watches: a handle, a callback, a transport with its buffers. The kernel keeps a set of descriptors for us anyway
(about 200 bytes an entry, epoll(7)), and needs nothing of us but the number. So the sockets go
into an epoll set of our own, and a connection at rest costs this process no object at all.

*An epoll descriptor can itself be watched.* It is readable while its list of ready descriptors is not empty. The
event loop watches that one descriptor (`add_reader`), and calls `turn` when any client has something for us. Broker
connections, HTTP and timers stay with the event loop, which is good at them.

*Level-triggered, on purpose.* In the default mode a descriptor stays on the ready list as long as there is something to
read. A handler may therefore read once, not until nothing is left, and be sure to be called again: one system call
for a message instead of two, and a client that sends without end is served one read at a time, in turn with all others.

*Bounded work.* A turn serves a few small batches and returns. If more descriptors are ready the set is still readable,
and the loop calls again after it has served everybody else. The kernel puts those it has reported at the end of
the ready list, so nobody starves however small the batch.

*Writing is the exception.* A socket with room in its send buffer is always writable, so that asking for EPOLLOUT would
be reported all the time. Only a socket whose outbox holds unsent bytes asks for it.

*EPOLLHUP and EPOLLERR are reported without being asked for.* They count as readable: the read that follows gives
the error or the end of the stream, and so there is one path for every kind of end.

*Closing removes, unless a duplicate is open.* The set holds open file descriptions, not numbers. A
descriptor that was duplicated (by fork, or dup) stays in the set after close() and is reported under a number
that is no longer ours, for ever. So `remove` takes it out explicitly, before the close.

*Numbers come back at once.* After a close the next accept gets the same number. Within one batch that cannot happen,
since connections are accepted in a callback of its own; an event for a descriptor that was closed earlier in
the same batch finds its slot free and is ignored.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

BATCH_COUNT = 64
"""Descriptors served together. What they are answered waits for the last of them: 0.25 ms of small messages.

Twice as many cost a peer on the same machine its sleep: it has nothing to do for longer than a virtual processor
waits before it halts, and to wake it takes us a twentieth of all that an echo costs."""

BATCHES_A_TURN = 4
"""Batches before the event loop serves others: 2 ms. To ask once more costs a tenth of a way through the loop."""

READ, WRITE = select.EPOLLIN, select.EPOLLOUT

Ready = tuple[int, int]
"""A descriptor, and its events."""


class Poller:
    """Calls what it was started with for the descriptors that were added and are ready."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop, serve: Callable[[list[Ready]], None]) -> None:
        """Have `loop` call `turn` whenever a descriptor is ready. `serve` does not raise."""
        self._loop = loop
        self._serve = serve
        loop.add_reader(self._epoll.fileno(), self.turn)

    def stop(self) -> None:
        """Leave the loop and give the set back. Fine to call twice."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop = None
        self._epoll.close()

    def add(self, fd: int) -> None:
        """Watch `fd` for input."""
        self._epoll.register(fd, READ)

    def watch(self, fd: int, *, read: bool, write: bool) -> None:
        """Change what `fd` is watched for."""
        self._epoll.modify(fd, (READ if read else 0) | (WRITE if write else 0))

    def remove(self, fd: int) -> None:
        """Watch `fd` no more; to be called before it is closed."""
        self._epoll.unregister(fd)

    def turn(self) -> None:
        """Serve what is ready, but no more than BATCHES_A_TURN times."""
        for _ in range(BATCHES_A_TURN):
            ready = self._epoll.poll(0, BATCH_COUNT)
            if not ready:
                return
            self._serve(ready)
