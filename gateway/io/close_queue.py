"""The queue of ends: what an application must hear, and which slots are to be freed, in the order in which they came.

It is worked off in turns of the event loop of its own. So `on_close` is never called from inside another callback, and
always before the descriptor's number can come back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_A_TURN = 512
"""Ends worked off before others are served; each costs a few µs."""

CloseEvent = tuple[int, int, int, str]
"""What an application hears: descriptor, generation, close code, reason."""


class CloseQueue:
    """Calls `tell` for what was told, `free` for descriptors."""

    def __init__(self, tell: Callable[[int, int, int, str], None], free: Callable[[int], None]) -> None:
        self._tell = tell
        self._free = free
        self._waiting: deque[CloseEvent | int] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, ending: CloseEvent | int) -> None:
        """At the end of the queue: an application hears this, or this descriptor becomes free."""
        if not self._waiting and self._loop is not None:
            self._loop.call_soon(self.settle)
        self._waiting.append(ending)

    def settle(self) -> None:
        """Work off a turn's worth now."""
        for _ in range(min(len(self._waiting), _A_TURN)):
            ending = self._waiting[0]
            if isinstance(ending, int):
                self._free(ending)
            else:
                self._tell(*ending)
            self._waiting.popleft()
        if self._waiting and self._loop is not None:
            self._loop.call_soon(self.settle)
