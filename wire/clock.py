"""The clock that is passed to everything that needs time; no other file of the product reads the system's clock.

Durations are measured with `Clock.monotonic`. `Clock.wall` is for times that outlive a process or
leave it (ticket expiry, epochs). Both are seconds as a float. Tests pass a clock of their own.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A source of time, and a way to wait."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` (0 lets other tasks run)."""


class SystemClock:
    """The clocks of the operating system."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
