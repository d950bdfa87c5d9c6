"""Advances the timing wheel and measures the delay of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from roost.gateway.connections.wheel import TICK_S
from roost.wire.clock import Clock

MAX_STEP = round(1 / TICK_S)
"""Most ticks that the wheel advances at once. A longer gap means that the process was suspended, and that input from
peers is still unread. The wheel skips the rest of the gap; otherwise live connections would be closed as dead."""

_LAG_WINDOW = round(1 / TICK_S)
_ROUNDING_S = 0.001
"""uvloop truncates timers to whole milliseconds; a timer that fires too early would fire repeatedly."""


class Ticker:
    """Calls `turn` once for each tick of `clock`; `lag_ms` is the longest delay of the last second."""

    def __init__(self, clock: Clock, turn: Callable[[], None]) -> None:
        self._clock = clock
        self._turn = turn
        self._next = 0.0
        self._lags = [0.0] * _LAG_WINDOW
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None

    @property
    def lag_ms(self) -> float:
        """Longest delay of a tick in the last second, in milliseconds."""
        return max(self._lags) * 1000

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._next = self._clock.monotonic() + TICK_S
        self._handle = loop.call_later(TICK_S, self._wake)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wake(self) -> None:
        assert self._loop is not None
        self.tick()
        pause_s = min(max(self._next - self._clock.monotonic(), 0.0), TICK_S)
        self._handle = self._loop.call_later(pause_s + _ROUNDING_S, self._wake)

    def tick(self) -> None:
        """Advance the wheel to the current time of the clock."""
        late_s = self._clock.monotonic() - self._next
        if late_s < 0:
            return
        self._count += 1
        self._lags[self._count % _LAG_WINDOW] = late_s
        steps = int(late_s / TICK_S) + 1
        self._next += steps * TICK_S
        for _ in range(min(steps, MAX_STEP)):
            self._turn()
