"""An event loop whose time is virtual: when there is nothing to do it goes on to the next timer at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

WALL_AHEAD_S = 1_750_000_000.0
H = TypeVar("H", bound=asyncio.Handle)


@dataclass(eq=False)
class Pause:
    """Until when a process stands still, and what it missed."""

    until: float = 0.0
    missed: list[Callable[[], Any]] = field(default_factory=list)


PAUSE: ContextVar[Pause | None] = ContextVar("pause", default=None)
"""Of the process that a context belongs to."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """No sockets, no threads: executors' work is done on the spot, as one step that nothing can interrupt.

    Every callback is its process's, which its context names; what falls due while that stands still waits for its turn.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_NoSelector(self))

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = copy_context() if context is None else context  # an empty one is false
        return self._gated(lambda gate: super(VirtualLoop, self).call_soon(gate, context=context), callback, args)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context  # an empty one is false
        return self._gated(lambda gate: super(VirtualLoop, self).call_at(when, gate, context=context), callback, args)

    def _gated(self, schedule: Callable[[Callable[[], None]], H], callback: Callable[..., object], args: Any) -> H:
        def gate() -> None:
            pause = PAUSE.get()
            if pause is None or pause.until <= self.now:
                callback(*args)
            else:
                context = copy_context()
                pause.missed.append(lambda: self.call_soon(unless_cancelled, context=context))

        def unless_cancelled() -> None:
            if not handle.cancelled():
                callback(*args)

        handle = schedule(gate)
        return handle

    def pause(self, pause: Pause, seconds: float) -> None:
        """The process stands still for so long, as after SIGSTOP; then it does all that it missed, in order."""
        pause.until = self.now + seconds

        def go_on() -> None:
            missed, pause.missed = pause.missed, []
            for act in missed:
                act()

        super().call_at(pause.until, go_on)

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
    """A `roost.wire.clock.Clock` on the loop's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.now

    def wall(self) -> float:
        return self._loop.now + WALL_AHEAD_S

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
