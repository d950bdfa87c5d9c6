"""The cache port: promises nothing, may forget at any time (I5)."""

from __future__ import annotations

from typing import Protocol


class Cache(Protocol):
    """Bytes by key. Losing everything changes cost, never an outcome.

    No method raises for an outage: a lost write is a later miss, and a lost read is a miss.
    """

    async def start(self) -> None:
        """Connect; returns even when the engine is away."""

    async def get(self, key: bytes) -> bytes | None:
        """What was last put under the key, or None. Never another key's value."""

    async def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """`get` for each key, in order."""

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Keep the value for at most `ttl_s` seconds; replaces."""

    async def swap(self, key: bytes, old: bytes | None, new: bytes, ttl_s: float) -> bytes | None:
        """Put `new` only if the key has `old` (None: has nothing), in one step among all who share the content.

        Returns what the key has afterwards, so the swap was made exactly if that is `new`, provided that nobody else
        puts the same value. None: the key has nothing, or there was no answer. Without an answer the swap may have
        been made, or may still be made while the key has `old`. A swap that was made counts as written even where an
        earlier `put` was lost, and it needs a positive `ttl_s`.
        """

    async def drop(self, key: bytes) -> None:
        """Forget the key."""

    async def stop(self) -> None:
        """Disconnect; fine to call twice."""
