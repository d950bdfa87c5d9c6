"""Caches that forget, as any cache may: one that keeps nothing, and one that loses some of it again and again."""

from __future__ import annotations

import random

from roost.backend.cache.memory_cache import MemoryCache


class NoCache:
    """See `roost.backend.cache.port.Cache`."""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def get(self, key: bytes) -> bytes | None:
        """Forgotten."""
        return None

    async def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """Forgotten."""
        return [None] * len(keys)

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Forget at once."""

    async def swap(self, key: bytes, old: bytes | None, new: bytes, ttl_s: float) -> bytes | None:
        """Forget at once."""
        return None

    async def drop(self, key: bytes) -> None:
        """Forgotten before."""

    async def stop(self) -> None:
        """Nothing to disconnect from."""


class Forgetful(MemoryCache):
    """Forgets each entry by chance when it is asked for, and everything together once in a while."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self.forgotten_count = 0
        """How often an entry that had been put was not there."""

    async def get(self, key: bytes) -> bytes | None:
        """What was put, or nothing."""
        found = await super().get(key)
        if found is None or self._chance.random() < 0.5:
            return found
        self.forgotten_count += 1
        if self._chance.random() < 0.1:
            self._kept = MemoryCache()._kept
        else:
            await self.drop(key)
        return None

    async def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The same for each."""
        return [await self.get(key) for key in keys]
