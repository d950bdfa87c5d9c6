"""Time that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

TURNS_TO_SETTLE = 50
"""Turns of the event loop that what one wake-up sets off may take; a turn with nothing to do is nearly free."""


class ManualClock:
    """A `roost.wire.clock.Clock` that only `advance` moves; wall and monotonic time move together."""

    def __init__(self, monotonic_s: float = 1_000.0, wall_s: float = 1_750_000_000.0) -> None:
        self._now = monotonic_s
        self._wall_ahead = wall_s - monotonic_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._serial = count()

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._wall_ahead

    def set_back(self, seconds: float) -> None:
        """Somebody corrects the wall clock."""
        self._wall_ahead -= seconds

    def stand_still(self, seconds: float) -> None:
        """The process stops for so long, as on a machine that sleeps: nobody is woken meanwhile."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._serial), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move time on; sleepers wake one by one, each at its own time, in order (of their going to sleep when equal).

        After each wake-up the event loop runs until what it set off has settled, so one that sleeps again within
        the span is woken again. Waits for no sockets, threads or processes.
        """
        end = self._now + seconds
        await self.settle()
        while (sleeper := self._next_sleeper()) is not None and sleeper[0] <= end:
            heapq.heappop(self._sleepers)
            self._now = max(self._now, sleeper[0])
            sleeper[2].set_result(None)
            await self.settle()
        self._now = end

    async def settle(self) -> None:
        """Let tasks run until they wait for something else than their turn."""
        for _ in range(TURNS_TO_SETTLE):
            await asyncio.sleep(0)

    def sleepers(self) -> int:
        """How many tasks sleep now."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def _next_sleeper(self) -> tuple[float, int, asyncio.Future[None]] | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0] if self._sleepers else None
