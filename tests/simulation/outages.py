"""A store that goes away, and whose clock leaps; and a client whose gateway dies for good with it.

All draws are from a stream of its own, so that a seed without these faults tells the same story as it did before them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TypeVar

from bench.support.steps_kind import Steps, StepsRunner
from roost.backend.kinds.api import RetryLater, RunnerTools
from roost.backend.store.port import StoreLimits
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.errors import Unavailable
from tests.simulation.loop import VirtualClock, VirtualLoop
from tests.simulation.nodes import current

T = TypeVar("T")

SHARE = 0.2
"""Of the seeds, that have such faults."""
BEGIN_S = 35.0
"""The first fault comes within this time."""
LONGEST_S = 400.0
"""An outage may be longer than the grace of the simulated store several times over."""
LEAP_S = 36 * 3600.0
LOCK_SERVERS = ("lock-a", "lock-b")
GUESTS_GATEWAY = "gateway-guest"


class StoreClock(VirtualClock):
    """The wall clock of each lock server, which may leap; monotonic time does not."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self.ahead_s = dict.fromkeys(LOCK_SERVERS, 0.0)

    def wall(self) -> float:
        node = current()
        return super().wall() + self.ahead_s.get(node.name if node else "", 0.0)


class UnreliableStore(SqliteStore):
    """A store that may be away."""

    def __init__(self, limits: StoreLimits, clock: StoreClock) -> None:
        super().__init__(":memory:", limits, clock)
        self.is_away = False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self.is_away:
            raise Unavailable("store", "simulated")
        return await super()._in_thread(work)


class _EndlessRunner(StepsRunner):
    async def run(self, payload: bytes, deadline_s: float) -> bytes:
        raise RetryLater(5.0)


class Endless(Steps):
    """A job of this kind ends only when it is cancelled."""

    name = "endless"

    def runner(self, tools: RunnerTools) -> StepsRunner:
        return _EndlessRunner()


class StoreTrouble:
    """What goes wrong with the store in a seed, if anything does."""

    def __init__(self, seed: int, store: UnreliableStore, clock: StoreClock, note: Callable[[str], None]) -> None:
        self.chance = Random(f"{seed} store")
        self.strikes = self.chance.random() < SHARE
        self._store, self._clock, self._note = store, clock, note

    async def go_wrong(self) -> None:
        """One to three faults; at the end the store is there."""
        await asyncio.sleep(self.chance.uniform(0.0, BEGIN_S))
        for _ in range(self.chance.randint(1, 3)):
            await self.chance.choice([self._away, self._away, self._flap, self._leap])()
            await asyncio.sleep(self.chance.uniform(0.0, 40.0))

    async def _away(self) -> None:
        seconds = self.chance.choice([self.chance.uniform(0.2, 10.0), self.chance.uniform(10.0, LONGEST_S)])
        self._note(f"the store is away for {seconds:.1f} s")
        self._store.is_away = True
        await asyncio.sleep(seconds)
        self._store.is_away = False

    async def _flap(self) -> None:
        self._note("the store flaps")
        for _ in range(self.chance.randint(2, 8)):
            self._store.is_away = True
            await asyncio.sleep(self.chance.uniform(0.5, 30.0))
            self._store.is_away = False
            await asyncio.sleep(self.chance.uniform(0.5, 30.0))

    async def _leap(self) -> None:
        """The clock of the host of all lock servers, or of one alone."""
        leap_s = self.chance.choice([LEAP_S, -LEAP_S])
        names = self.chance.choice([LOCK_SERVERS, LOCK_SERVERS[:1], LOCK_SERVERS[1:]])
        self._note(f"the clock of {' and '.join(names)} leaps by {leap_s / 3600:+.0f} h")
        for name in names:
            self._clock.ahead_s[name] += leap_s
