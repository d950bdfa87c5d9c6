"""The room in which a worker's tasks run: together, unless one has to be alone (P21)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class SharedExclusiveLock:
    """Tasks share it; one that is to be alone waits until all others have left, and nobody enters meanwhile.

    `on_change` is told when somebody begins to wait to be alone (True), and when the last such one has left (False).
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._holder_count = 0
        self._exclusive_count = 0
        """Those who are alone or wait to be."""
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Be in it with others."""
        await self._until(lambda: not self._exclusive_count)
        self._holder_count += 1
        try:
            yield
        finally:
            self._holder_count -= 1
            self._changed.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be in it with nobody else."""
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
