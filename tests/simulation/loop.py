"""An event loop whose time is virtual: when there is nothing to do it goes on to the next timer at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

WALL_AHEAD_S = 1_750_000_000.0


class VirtualLoop(asyncio.SelectorEventLoop):
    """No sockets, no threads: executors' work is done on the spot, as one step that nothing can interrupt."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_NoSelector(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        try:
            done.set_result(function(*arguments))
        except Exception as problem:
            done.set_exception(problem)
        return done


class _NoSelector(selectors.DefaultSelector):
    """Waiting is moving the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self._loop.now += max(timeout, 0.0)
        return []


class VirtualClock:
    """A `wire.clock.Clock` on the loop's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.now

    def wall(self) -> float:
        return self._loop.now + WALL_AHEAD_S

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
