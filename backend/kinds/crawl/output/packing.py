"""Packs JSON values into as few parts as possible. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from roost.wire.codec import compress, decompress, to_json
from roost.wire.messages.outcome import PART_BYTES


def json_arrays(items: Iterable[Any], opening: bytes, closing: bytes, most_bytes: int) -> Iterator[bytes]:
    """Yield `items` as JSON in as few arrays as fit into `most_bytes` each; nothing for no items."""
    packed: list[bytes] = []
    room = empty = most_bytes - len(opening) - len(closing)
    for data in map(to_json, items):
        room -= len(data) + 1
        if room < 0 and packed:
            yield opening + b",".join(packed) + closing
            packed, room = [], empty - len(data) - 1
        packed.append(data)
    if packed:
        yield opening + b",".join(packed) + closing


class CompressedRows:
    """Collects rows of JSON one by one as parts between `opening` and `closing`; stored compressed."""

    def __init__(self, opening: bytes, closing: bytes, most_bytes: int) -> None:
        self._opening, self._closing = opening, closing
        self._room_bytes = most_bytes
        self._done: list[bytes] = []
        self._rows: list[bytes] = []
        self._length = 0

    def add(self, row: bytes) -> bool:
        """Append a row; return False when it does not fit."""
        if self._room_bytes <= 0 or len(row) + len(self._opening) + len(self._closing) > PART_BYTES:
            return False
        if len(self._opening) + len(self._closing) + self._length + len(row) > PART_BYTES:
            part = compress(self._part())
            self._room_bytes -= len(part)
            self._done.append(part)
            self._rows, self._length = [], 0
        self._rows.append(row)
        self._length += len(row) + 1
        return True

    def parts(self) -> Iterator[bytes]:
        """Yield all parts; nothing when there are no rows."""
        for part in self._done:
            yield decompress(part, PART_BYTES)
        if self._rows:
            yield self._part()

    def _part(self) -> bytes:
        return self._opening + b",".join(self._rows) + self._closing
