"""A worker with a lease, and the value in the cache, as plain data with times that tests choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from roost.backend.kinds.crawl.politeness.host_lease import Answer, Lease, Swap, Use

WALL = 1_750_000_000.0
TICK_S = 0.25


def new_lease(name: bytes, whole: int = 8) -> Lease:
    """A lease of none yet, of the only host of worker `name`."""
    return Lease(name, whole, count(1))


@dataclass
class Value:
    """The one value in the cache, and when it dies."""

    data: bytes | None = None
    dies_at: float = 0.0

    def swap(self, swap: Swap, now: float) -> bytes | None:
        if now >= self.dies_at:
            self.data = None
        if self.data == swap.old:
            self.data, self.dies_at = swap.new, now + swap.ttl_s
        return self.data


@dataclass
class Worker:
    """One worker. `sent` is the swap it waits for, `answer` what the cache said to that, once it was made."""

    lease: Lease
    started_at: float
    rate: float = 1.0
    part: int = 100
    busy: int = 0
    wanted: int = 1
    is_running: bool = True
    is_dead: bool = False
    sent: Swap | None = None
    answers: list[bytes | None] = field(default_factory=list)

    def now(self, time: float) -> float:
        """By its own clock."""
        return self.started_at + time * self.rate

    def in_flight(self, time: float) -> int:
        """What it has a right to have in flight, or had when it was stopped."""
        return min(self.busy, self.lease.most) if self.now(time) < self.lease.until else 0

    def settle(self, time: float) -> None:
        """What timers do: cut off what the lease does not cover."""
        covered = self.lease.most if self.now(time) < self.lease.until else 0
        self.busy = min(self.busy, covered)

    def propose(self, time: float) -> Swap:
        """The next swap. Requests that the end of the lease has just cut off still count as in flight here."""
        use = Use(self.busy, max(self.busy, min(self.wanted, self.lease.whole)), self.part)
        self.sent = self.lease.propose(use, self.now(time), WALL + time)
        self.answers = []
        return self.sent

    def hear(self, found: bytes | None, time: float) -> Answer:
        self.sent = None
        answer = self.lease.answered(found, self.now(time))
        self.settle(time)
        return answer
