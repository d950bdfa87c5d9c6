"""The lock under which a worker's tasks run: shared, or exclusive for a task that must run alone (P21)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class SharedExclusiveLock:
    """Held by many tasks at once, or by one task alone. Tasks that wait for it alone go before tasks that share it.

    `on_change` is called with True when the first task begins to wait for exclusive use, and with False when the last
    such task has released the lock.
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._holder_count = 0
        self._exclusive_count = 0
        """Tasks that hold the lock exclusively or wait to do so."""
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold the lock together with other tasks."""
        await self._until(lambda: not self._exclusive_count)
        self._holder_count += 1
        try:
            yield
        finally:
            self._holder_count -= 1
            self._changed.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold the lock exclusively."""
        self._exclusive_count += 1
        if self._exclusive_count == 1:
            self._on_change(True)
        try:
            await self._until(lambda: not self._holder_count)
            self._holder_count += 1
            try:
                yield
            finally:
                self._holder_count -= 1
        finally:
            self._exclusive_count -= 1
            if not self._exclusive_count:
                self._on_change(False)
            self._changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()
