"""The embedded cache, shared by the services of one process. `roost.backend.cache.lru` evicts values."""

from __future__ import annotations

from roost.backend.cache.lru import Lru
from roost.wire.clock import SYSTEM_CLOCK, Clock

MAX_BYTES = 64 * 1024 * 1024
"""Small compared with the services that share the process."""

VALUE_SHARE = 8
"""One value may use at most one part in this many of the cache."""


class MemoryCache:
    """A `Cache` of at most `max_bytes` in total, and an eighth of that in one value."""

    def __init__(self, max_bytes: int = MAX_BYTES, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kept = Lru(max_bytes, max_bytes // VALUE_SHARE)
        self._clock = clock

    async def start(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def get(self, key: bytes) -> bytes | None:
        return self._kept.get(key, self._clock.monotonic())

    async def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        now = self._clock.monotonic()
        return [self._kept.get(key, now) for key in keys]

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        self._kept.put(key, value, ttl_s, self._clock.monotonic())

    async def swap(self, key: bytes, old: bytes | None, new: bytes, ttl_s: float) -> bytes | None:
        now = self._clock.monotonic()
        if self._kept.get(key, now) == old:
            self._kept.put(key, new, ttl_s, now)
        return self._kept.get(key, now)

    async def drop(self, key: bytes) -> None:
        self._kept.drop(key)

    async def stop(self) -> None:
        """Keep the content: other services may share it."""
