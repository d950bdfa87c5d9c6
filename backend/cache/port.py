"""The cache port: the interface of all cache engines. A cache may lose any entry at any time (I5)."""

from __future__ import annotations

from typing import Protocol


class Cache(Protocol):
    """Bytes by key. Losing all entries changes the cost of jobs, never an outcome.

    No method raises for an outage: a lost write is a later miss, and a lost read is a miss.
    """

    async def start(self) -> None:
        """Connect. Returns also when the engine is unavailable."""

    async def get(self, key: bytes) -> bytes | None:
        """Return the value that was last put under the key, or None. Never returns the value of another key."""

    async def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """Return what `get` returns for each key, in order."""

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Replace the value of the key; it is kept for at most `ttl_s` seconds."""

    async def swap(self, key: bytes, old: bytes | None, new: bytes, ttl_s: float) -> bytes | None:
        """Compare and swap: put `new` only if the value is `old` (None: no value), atomically for all users.

        Returns the value afterwards. The swap was made exactly if that is `new`, provided that no other caller puts the
        same value. None means that there is no value, or that there was no answer. Without an answer the swap may have
        been made, or may still be made while the value is `old`. A swap that was made counts as written even where an
        earlier `put` was lost. It needs a positive `ttl_s`.
        """

    async def drop(self, key: bytes) -> None:
        """Remove the key."""

    async def stop(self) -> None:
        """Disconnect. It may be called twice."""
