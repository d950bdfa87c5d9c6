"""Who may connect: how many connections an address may have, and pages of which origins. Pure.

A connection at rest costs 8 bytes here for its address, and about 20 for each address that has connections.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from roost.gateway.api import Refusal
from roost.wire.client_address import is_loopback
from roost.wire.origins import AllowedOrigins

_GROWTH = 1024


class AddressCounts:
    """How many descriptors each address has: a hash table in arrays, open addressing, linear probing.

    It keeps 64-bit hashes instead of addresses; Python's are keyed anew in every process, so nobody can aim at a
    collision. An entry whose count is 0 stays until the table is rebuilt.
    """

    def __init__(self) -> None:
        self._keys = array("Q", bytes(8 * _GROWTH))
        self._counts = array("H", bytes(2 * _GROWTH))
        self._entries = 0
        self._key_of = array("Q")
        """By descriptor; 0 is none."""

    def __getitem__(self, address: str) -> int:
        """Descriptors of this address."""
        return self._counts[self._index(_hash(address))]

    def add(self, fd: int, address: str) -> None:
        """`fd` is now one of this address."""
        if fd >= len(self._key_of):
            self._key_of.frombytes(bytes(8 * (fd + _GROWTH - len(self._key_of))))
        self._key_of[fd] = key = _hash(address)
        index = self._index(key)
        if not self._keys[index]:
            self._keys[index] = key
            self._entries += 1
        self._counts[index] += 1
        if self._entries * 2 > len(self._keys):
            self._rebuild()

    def remove(self, fd: int) -> None:
        """`fd` is no more. Fine for one that was never added."""
        if fd < len(self._key_of) and self._key_of[fd]:
            self._counts[self._index(self._key_of[fd])] -= 1
            self._key_of[fd] = 0

    def trim(self, count: int) -> None:
        """No descriptor from `count` on is in use."""
        del self._key_of[count:]
        self._rebuild()

    def _index(self, key: int) -> int:
        mask = len(self._keys) - 1
        index = key & mask
        while self._keys[index] and self._keys[index] != key:
            index = index + 1 & mask
        return index

    def _rebuild(self) -> None:
        live = [(key, count) for key, count in zip(self._keys, self._counts, strict=True) if count]
        size = _GROWTH
        while size < 4 * len(live):
            size *= 2
        self._keys, self._counts = array("Q", bytes(8 * size)), array("H", bytes(2 * size))
        self._entries = len(live)
        for key, count in live:
            index = self._index(key)
            self._keys[index], self._counts[index] = key, count


def _hash(address: str) -> int:
    return hash(address) & 0xFFFFFFFFFFFFFFFF or 1


class AddressLimiter:
    """The limit of connections per address; loopback is exempt unless `count_loopback`. 0 is no limit."""

    def __init__(self, limit: int, *, count_loopback: bool) -> None:
        self._limit = min(limit, 0xFFFF)
        self._count_loopback = count_loopback
        self._counts = AddressCounts()

    def is_counted(self, address: str) -> bool:
        """Whether the limit is about this address at all."""
        return bool(self._limit and address) and (self._count_loopback or not is_loopback(address))

    def takes(self, fd: int, address: str) -> bool:
        """Count `fd` for its address; False when that has too many already."""
        if not self.is_counted(address):
            return True
        if self._counts[address] >= self._limit:
            return False
        self._counts.add(fd, address)
        return True

    def leaves(self, fd: int) -> None:
        """`fd` was closed."""
        self._counts.remove(fd)

    def trim(self, count: int) -> None:
        """No descriptor from `count` on is in use."""
        self._counts.trim(count)


class OriginPolicy:
    """The browser pages that may connect (`roost.wire.origins`). Raises Misuse for what is no origin."""

    def __init__(self, allowed: str) -> None:
        self._allowed = AllowedOrigins(allowed)

    def check(self, fields: Mapping[bytes, bytes]) -> Refusal | None:
        """Why a request with these header fields is refused."""
        origin = fields.get(b"origin")
        if origin is None or self._allowed.admits(origin.decode("latin-1")):
            return None
        return Refusal(403, "pages of this origin may not connect here")
