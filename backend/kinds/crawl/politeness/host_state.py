"""What a worker knows of one host: its share of the host's places, who uses it, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque

from roost.backend.kinds.crawl.politeness.host_lease import Lease
from roost.backend.kinds.crawl.politeness.pace import Window
from roost.wire.clock import Clock

IDLE_S = 1.0
"""Who has not asked a host for so long leaves its places to others with the next renewal."""


class Host:
    """Times are monotonic seconds."""

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
        self.held_until = 0.0
        self.held_for = ("", 0)
        self.renewal: asyncio.Task[None] | None = None

    def has_room(self) -> bool:
        """One more request may begin now."""
        if self._clock.monotonic() >= self.lease.until:
            return False
        return self.asked < self.window.at_once(self.lease.limit)

    def wants_more(self) -> bool:
        """Somebody has come who would have more places than the others know of."""
        return self._wanted() > self.lease.wanted

    def use(self) -> tuple[int, int]:
        """Requests in flight, and how many places were wanted at a time since the lease was renewed."""
        return self.asked, self._wanted()

    def want_nothing(self) -> None:
        """The worker ends: what was wanted so far does not count."""
        self._peak = 0

    def come(self) -> asyncio.Future[None]:
        """Done when the one who calls has a place, perhaps at once; `leave` is to follow then, otherwise `give_up`."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._peak, self._came_at = max(self._peak, self._now_wanted()), self._clock.monotonic()
        self.admit()
        return place

    def give_up(self, place: asyncio.Future[None]) -> None:
        """Nobody waits for this any more."""
        if place.done():
            self.leave()
        else:
            self._waiting.remove(place)

    def admit(self) -> None:
        """Those who wait come in as far as there is room."""
        while self._waiting and self.has_room():
            self.asked += 1
            self._waiting.popleft().set_result(None)

    def leave(self) -> None:
        """A request is over."""
        self.asked -= 1
        self.admit()

    def is_spare(self) -> bool:
        """No request is in flight, nobody waits, and workers that have no place may."""
        return not self._now_wanted() and self.lease.is_crowded(self._clock.monotonic())

    def begin(self, cover: asyncio.Timeout) -> None:
        """A request is in flight, which `cover` cuts off when the lease ends."""
        self._covers[cover] = None

    def end(self, cover: asyncio.Timeout) -> None:
        """It is over."""
        del self._covers[cover]

    def renewed(self) -> None:
        """The lease has changed: the latest requests beyond it are cut off, and those who wait come in."""
        ends_at = asyncio.get_running_loop().time() + self.lease.until - self._clock.monotonic()
        for number, cover in enumerate(self._covers):
            if not cover.expired():
                cover.reschedule(ends_at if number < self.lease.most else 0.0)
        self._peak = 0
        self.admit()

    def is_active(self) -> bool:
        """The lease wants to be renewed."""
        return bool(self.asked or self._waiting) or not self.lease.is_over()

    def is_idle(self, now: float) -> bool:
        """Forgetting it would change nothing that anybody notices."""
        return not (self.is_active() or self.is_taking_turn) and max(self.next_at, self.held_until) <= now

    def _now_wanted(self) -> int:
        return self.asked + len(self._waiting)

    def _wanted(self) -> int:
        wanted = self._now_wanted()
        if wanted or self._clock.monotonic() - self._came_at < IDLE_S:
            wanted = max(wanted, self._peak)
        return max(self.asked, self.window.of(min(wanted, self.lease.whole)))
