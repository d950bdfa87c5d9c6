"""One timing wheel for all deadlines of all connections (Varghese and Lauck, 1987, scheme 4).

Time is cut into ticks, and a bucket stands for each of the next `SIZE` ticks. A connection has one deadline at a
time: the earliest of all that concern it. Moving a deadline is writing one cell and appending to one bucket; an
entry left behind in an old bucket is recognised, because the cell names another tick, and skipped. So neither
traffic nor the number of connections costs a tick anything: it pays for what falls due in it.

A deadline beyond the wheel's horizon is put at the horizon; whoever is asked then finds that it was too early and puts
it on again. `roost.gateway.connections.keepalive` decides what a due deadline means.
"""

from __future__ import annotations

from array import array

TICK_S = 0.25
"""Deadlines are kept to a tick; pings of 15,000 connections make bursts of 150, about a millisecond and a half of work.
To wake up more often costs more than to do more at a time: at 0.1 s, a quarter more processor time for keeping them."""

SIZE = 256
"""Buckets: 64 s ahead, more than the usual silence before a ping."""


def ticks(seconds: float) -> int:
    """Seconds as ticks, rounded up; anything above 0 is at least one tick."""
    return -(-int(seconds * 1000) // int(TICK_S * 1000)) or (1 if seconds > 0 else 0)


class Wheel:
    """Deadlines by file descriptor. `now` is the current tick and starts at 1; 0 is no time."""

    def __init__(self) -> None:
        self.now = 1
        self.due = array("I")
        self._buckets = [array("I") for _ in range(SIZE)]

    def put(self, fd: int, tick: int) -> None:
        """Set the one deadline of `fd`; one that has passed falls due in the next tick."""
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
        """Like `put` for each of `fds`, which have no deadline and have had one before, `ahead` ticks from now."""
        tick = self.now + min(max(ahead, 1), SIZE - 1)
        due = self.due
        for fd in fds:
            due[fd] = tick
        self._buckets[tick % SIZE].fromlist(fds)

    def advance(self, fd: int, tick: int) -> None:
        """Like `put`, unless `fd` has an earlier deadline already."""
        if fd >= len(self.due) or not self.due[fd] or tick < self.due[fd]:
            self.put(fd, tick)

    def remove(self, fd: int) -> None:
        """`fd` has no deadline any more."""
        if fd < len(self.due):
            self.due[fd] = 0

    def trim(self, count: int) -> None:
        """Forget descriptors from `count` on; none of them has a deadline."""
        del self.due[count:]

    def turn(self) -> list[int]:
        """Go one tick on; the descriptors whose deadline it is, each once. They have no deadline now."""
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
