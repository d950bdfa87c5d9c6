"""A least-recently-used map with a limit in bytes and a lifetime for each value. Pure.

The least recently used entries are evicted first. A value above the limit for one value is not stored, so that it
cannot evict everything else. An expired value is never returned; it is removed when it is read or evicted.
"""

from __future__ import annotations

from collections import OrderedDict

ENTRY_BYTES = 250
"""Memory of an entry beyond the bytes of its key and value (measured with tracemalloc, 50,000 entries)."""


class Lru:
    """Values by key. `now` is monotonic seconds. `max_bytes` counts keys, values and `ENTRY_BYTES` for each entry."""

    def __init__(self, max_bytes: int, max_value_bytes: int) -> None:
        self._max_bytes, self._max_value_bytes = max_bytes, max_value_bytes
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> bytes | None:
        """Return the value, or None when it was evicted or has expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        dies_at, value = entry
        if now >= dies_at:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes, ttl_s: float, now: float) -> None:
        """Replace the value. A value that is too large, or whose TTL is not positive, only removes the old one."""
        self.drop(key)
        cost = _cost(key, value)
        if cost > min(self._max_bytes, self._max_value_bytes) or not ttl_s > 0:
            return
        self._entries[key] = (now + ttl_s, value)
        self.used_bytes += cost
        while self.used_bytes > self._max_bytes:
            oldest, (_, gone) = self._entries.popitem(last=False)
            self.used_bytes -= _cost(oldest, gone)

    def drop(self, key: bytes) -> None:
        """Remove the key, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used_bytes -= _cost(key, entry[1])


def _cost(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES
