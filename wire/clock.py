"""Time, injected: the only file of the product that reads a clock.

Durations are measured with `Clock.monotonic`; `Clock.wall` is for what outlives a process or
leaves it (ticket expiry, epochs). Both are seconds as a float. Tests pass a clock of their own.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where a part gets its time from."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` (0 lets other tasks run)."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
