"""One timing wheel for all deadlines of all connections (Varghese and Lauck, 1987, scheme 4).

Time is divided into ticks, with one bucket for each of the next `SIZE` ticks. A connection has one deadline at a
time: the earliest of all that concern it. Moving a deadline writes one cell and appends to one bucket; the entry left
in the old bucket is skipped, because the cell now contains another tick. So the cost of a tick depends neither on
traffic nor on the number of connections, only on the deadlines that are due in it.

A deadline beyond the wheel's horizon is put at the horizon; the code that handles it finds that it is too early and
sets it again. `roost.gateway.connections.keepalive` decides what a due deadline means.
"""

from __future__ import annotations

from array import array

TICK_S = 0.25
"""Resolution of deadlines. Pings of 15,000 connections come in groups of 150, about 1.5 ms of work. Waking up more
often costs more than larger groups: 0.1 s takes a quarter more processor time for idle connections."""

SIZE = 256
"""Buckets: 64 s ahead, more than the usual silence before a ping."""


def ticks(seconds: float) -> int:
    """Convert seconds to ticks, rounded up; anything above 0 is at least one tick."""
    return -(-int(seconds * 1000) // int(TICK_S * 1000)) or (1 if seconds > 0 else 0)


class Wheel:
    """Deadlines by file descriptor. `now` is the current tick and starts at 1; 0 is no time."""

    def __init__(self) -> None:
        self.now = 1
        self.due = array("I")
        self._buckets = [array("I") for _ in range(SIZE)]

    def put(self, fd: int, tick: int) -> None:
        """Set the deadline of `fd`; one that has already passed is due in the next tick."""
        if fd >= len(self.due):
            self.due.frombytes(bytes(4 * (max(fd + 1, 1024) + len(self.due) // 8 - len(self.due))))
        now = self.now
        if tick <= now:
            tick = now + 1
        elif tick >= now + SIZE:
            tick = now + SIZE - 1
        if self.due[fd] != tick:
            self.due[fd] = tick
            self._buckets[tick % SIZE].append(fd)

    def put_all(self, fds: list[int], ahead: int) -> None:
        """Set a deadline `ahead` ticks from now for `fds`, which have none now and had one before."""
        tick = self.now + min(max(ahead, 1), SIZE - 1)
        due = self.due
        for fd in fds:
            due[fd] = tick
        self._buckets[tick % SIZE].fromlist(fds)

    def advance(self, fd: int, tick: int) -> None:
        """Like `put`, but keep the deadline of `fd` if it is earlier."""
        if fd >= len(self.due) or not self.due[fd] or tick < self.due[fd]:
            self.put(fd, tick)

    def remove(self, fd: int) -> None:
        """Remove the deadline of `fd`."""
        if fd < len(self.due):
            self.due[fd] = 0

    def trim(self, count: int) -> None:
        """Free the memory of descriptors from `count` on, none of which has a deadline."""
        del self.due[count:]

    def turn(self) -> list[int]:
        """Advance by one tick; return the descriptors that are due, each once. They have no deadline afterwards."""
        self.now += 1
        index = self.now % SIZE
        bucket = self._buckets[index]
        if not bucket:
            return []
        self._buckets[index] = array("I")
        due, now, count = self.due, self.now, len(self.due)
        fired = []
        for fd in bucket:
            if fd < count and due[fd] == now:
                due[fd] = 0
                fired.append(fd)
        return fired
