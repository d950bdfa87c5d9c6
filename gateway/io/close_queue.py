"""The queue of ends: what an application must hear, and which slots are to be freed, in the order in which they came.

It is worked off in turns of the event loop of its own. So `on_close` is never called from inside another callback, and
always before the descriptor's number can come back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_MAX_PER_TURN = 512
"""Ends worked off before others are served; each costs a few µs."""

CloseEvent = tuple[int, int, int, str]
"""What an application hears: descriptor, generation, close code, reason."""


class CloseQueue:
    """Calls `notify` for what was told, `free` for descriptors."""

    def __init__(self, notify: Callable[[int, int, int, str], None], free: Callable[[int], None]) -> None:
        self._notify = notify
        self._free = free
        self._waiting: deque[CloseEvent | int] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, event: CloseEvent | int) -> None:
        """At the end of the queue: an application hears this, or this descriptor becomes free."""
        if not self._waiting and self._loop is not None:
            self._loop.call_soon(self.settle)
        self._waiting.append(event)

    def settle(self) -> None:
        """Work off a turn's worth now."""
        for _ in range(min(len(self._waiting), _MAX_PER_TURN)):
            event = self._waiting[0]
            if isinstance(event, int):
                self._free(event)
            else:
                self._notify(*event)
            self._waiting.popleft()
        if self._waiting and self._loop is not None:
            self._loop.call_soon(self.settle)
