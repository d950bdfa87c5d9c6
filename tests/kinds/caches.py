"""A cache that has just forgotten everything, as any cache may."""

from __future__ import annotations


class NoCache:
    """See `backend.cache.port.Cache`."""

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

    async def drop(self, key: bytes) -> None:
        """Forgotten before."""

    async def stop(self) -> None:
        """Nothing to disconnect from."""
