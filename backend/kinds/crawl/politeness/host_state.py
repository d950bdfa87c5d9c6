"""A worker's state of one host: its lease of request slots, requests in flight, and requests that wait."""

from __future__ import annotations

import asyncio
from collections import deque

from roost.backend.kinds.crawl.politeness.host_lease import Lease
from roost.backend.kinds.crawl.politeness.pace import Window
from roost.wire.clock import Clock

IDLE_S = 1.0
"""A worker that has not used a host for this long releases its slots with the next renewal."""


class Host:
    """One host. Times are monotonic seconds."""

    def __init__(self, name: str, lease: Lease, clock: Clock) -> None:
        self.name, self.lease = name, lease
        self._clock = clock
        self.window = Window()
        self.asked = 0
        """Requests in flight, and those about to begin."""
        self._covers: dict[asyncio.Timeout, None] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._peak = 0
        self._came_at = 0.0
        self.next_at = 0.0
        self.is_taking_turn = False
        self.paused_until = 0.0
        self.paused_for = ("", 0)
        self.renewal: asyncio.Task[None] | None = None

    def has_room(self) -> bool:
        """Whether one more request may begin now."""
        if self._clock.monotonic() >= self.lease.until:
            return False
        return self.asked < self.window.at_once(self.lease.limit)

    def wants_more(self) -> bool:
        """Whether this worker wants more slots than its last claim says."""
        return self._wanted() > self.lease.wanted

    def use(self) -> tuple[int, int]:
        """Return how many requests are in flight, and the most slots wanted since the lease was renewed."""
        return self.asked, self._wanted()

    def want_nothing(self) -> None:
        """Forget the peak of wanted slots, because the worker stops or the host has no request."""
        self._peak = 0

    def come(self) -> asyncio.Future[None]:
        """Return a future that is done when the caller has a slot, perhaps at once.

        The caller must call `leave` after that, or `give_up` before.
        """
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(slot)
        self._peak, self._came_at = max(self._peak, self._now_wanted()), self._clock.monotonic()
        self.admit()
        return slot

    def give_up(self, slot: asyncio.Future[None]) -> None:
        """Stop waiting for this slot, or release it if it was granted already."""
        if slot.done():
            self.leave()
        else:
            self._waiting.remove(slot)

    def admit(self) -> None:
        """Grant slots to waiting requests as far as the limit allows."""
        while self._waiting and self.has_room():
            self.asked += 1
            self._waiting.popleft().set_result(None)

    def leave(self) -> None:
        """Release the slot of a request that is over."""
        self.asked -= 1
        self.admit()

    def is_spare(self) -> bool:
        """Whether this worker has no use for its slots while workers without a slot may wait for them."""
        return not self._now_wanted() and self.lease.is_crowded(self._clock.monotonic())

    def begin(self, cover: asyncio.Timeout) -> None:
        """Register a request in flight; `cover` is the timeout that cuts it off when the lease ends."""
        self._covers[cover] = None

    def end(self, cover: asyncio.Timeout) -> None:
        """Remove the timeout of a request that is over."""
        del self._covers[cover]

    def renewed(self) -> None:
        """Apply a changed lease: cut off the latest requests beyond it, and admit waiting ones."""
        ends_at = asyncio.get_running_loop().time() + self.lease.until - self._clock.monotonic()
        for number, cover in enumerate(self._covers):
            if not cover.expired():
                cover.reschedule(ends_at if number < self.lease.most else 0.0)
        self._peak = 0
        self.admit()

    def is_active(self) -> bool:
        """Whether the lease must be kept renewed."""
        return bool(self.asked or self._waiting) or not self.lease.is_over()

    def is_idle(self, now: float) -> bool:
        """Whether this state may be dropped without any effect."""
        return not (self.is_active() or self.is_taking_turn) and max(self.next_at, self.paused_until) <= now

    def _now_wanted(self) -> int:
        return self.asked + len(self._waiting)

    def _wanted(self) -> int:
        wanted = self._now_wanted()
        if wanted or self._clock.monotonic() - self._came_at < IDLE_S:
            wanted = max(wanted, self._peak)
        return max(self.asked, self.window.of(min(wanted, self.lease.whole)))
