"""Limits on who may connect: connections per client address, and origins of web pages. Pure.

Counting takes 8 bytes for each connection, and 20 to 80 bytes for each address that has connections.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from roost.gateway.api import Refusal
from roost.wire.client_address import is_loopback
from roost.wire.origins import AllowedOrigins

_GROWTH = 1024


class AddressCounts:
    """Number of descriptors per address: a hash table in arrays, with open addressing and linear probing.

    It stores 64-bit hashes instead of addresses. Python's string hash has a new random key in every process, so a
    client cannot produce collisions on purpose. An entry whose count is 0 stays until the table is rebuilt.
    """

    def __init__(self) -> None:
        self._keys = array("Q", bytes(8 * _GROWTH))
        self._counts = array("H", bytes(2 * _GROWTH))
        self._entries = 0
        self._key_of = array("Q")
        """The address's hash by descriptor; 0 is none."""

    def __getitem__(self, address: str) -> int:
        """Return the number of descriptors of this address."""
        return self._counts[self._index(_hash(address))]

    def add(self, fd: int, address: str) -> None:
        """Count `fd` for this address."""
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
        """Remove `fd`; does nothing if it was never added."""
        if fd < len(self._key_of) and self._key_of[fd]:
            self._counts[self._index(self._key_of[fd])] -= 1
            self._key_of[fd] = 0

    def trim(self, count: int) -> None:
        """Free the memory of descriptors from `count` on, none of which is in use."""
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
    """Limits connections per address; 0 is no limit. Loopback addresses are exempt unless `count_loopback` is set."""

    def __init__(self, limit: int, *, count_loopback: bool) -> None:
        self._limit = min(limit, 0xFFFF)
        self._count_loopback = count_loopback
        self._counts = AddressCounts()

    def is_counted(self, address: str) -> bool:
        """Whether the limit applies to this address."""
        return bool(self._limit and address) and (self._count_loopback or not is_loopback(address))

    def takes(self, fd: int, address: str) -> bool:
        """Count `fd` for its address; return False when the address is at its limit."""
        if not self.is_counted(address):
            return True
        if self._counts[address] >= self._limit:
            return False
        self._counts.add(fd, address)
        return True

    def leaves(self, fd: int) -> None:
        """Stop counting `fd`, because it was closed."""
        self._counts.remove(fd)

    def trim(self, count: int) -> None:
        """Free the memory of descriptors from `count` on, none of which is in use."""
        self._counts.trim(count)


class OriginPolicy:
    """Checks the origins of web pages that may connect (`roost.wire.origins`). Raises Misuse for an invalid origin."""

    def __init__(self, allowed: str) -> None:
        self._allowed = AllowedOrigins(allowed)

    def check(self, fields: Mapping[bytes, bytes]) -> Refusal | None:
        """Return the refusal for a request with these header fields; None when its origin is allowed."""
        origin = fields.get(b"origin")
        if origin is None or self._allowed.admits(origin.decode("latin-1")):
            return None
        return Refusal(403, "pages of this origin may not connect here")
