"""A queue of closed connections: `on_close` calls that are due and slots to free, in order of arrival.

The queue is processed in separate callbacks of the event loop. Therefore `on_close` is never called from inside another
callback, and always before the kernel can reuse the descriptor's number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_MAX_PER_TURN = 512
"""Entries processed before the event loop serves others; each takes a few µs."""

CloseEvent = tuple[int, int, int, str]
"""Arguments of `on_close`: descriptor, generation, close code, reason."""


class CloseQueue:
    """Calls `notify` for each CloseEvent and `free` for each descriptor that was added."""

    def __init__(self, notify: Callable[[int, int, int, str], None], free: Callable[[int], None]) -> None:
        self._notify = notify
        self._free = free
        self._waiting: deque[CloseEvent | int] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, event: CloseEvent | int) -> None:
        """Append a close event, or a descriptor whose slot is to be freed."""
        if not self._waiting and self._loop is not None:
            self._loop.call_soon(self.settle)
        self._waiting.append(event)

    def settle(self) -> None:
        """Process up to `_MAX_PER_TURN` entries now."""
        for _ in range(min(len(self._waiting), _MAX_PER_TURN)):
            event = self._waiting[0]
            if isinstance(event, int):
                self._free(event)
            else:
                self._notify(*event)
            self._waiting.popleft()
        if self._waiting and self._loop is not None:
            self._loop.call_soon(self.settle)
