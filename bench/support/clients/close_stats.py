"""How the peer ended connections: with which close code, when, and whether by a close frame or a reset. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

NO_CODE = 1005
"""The code under which a close frame without a code is counted (RFC 6455 section 7.1.5)."""


@dataclass
class CloseStats:
    """Times are those of the machine's monotonic clock, so that processes can compare them."""

    codes: Counter[int] = field(default_factory=Counter)
    """Close frames, by their code."""
    times_s: list[float] = field(default_factory=list)
    """When each close frame came."""
    resets: int = 0
    """Connections reset, before a close frame or after it."""
    silent: int = 0
    """Connections that ended, in whatever way, without a close frame."""

    def hear(self, payload: bytes, now_s: float) -> None:
        """Count a close frame with this payload."""
        self.codes[int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CODE] += 1
        self.times_s.append(now_s)

    @classmethod
    def sum(cls, several: Iterable[Self]) -> Self:
        """Return the sum of several load processes."""
        total = cls()
        for one in several:
            total.codes += one.codes
            total.times_s += one.times_s
            total.resets += one.resets
            total.silent += one.silent
        return total

    def as_json(self) -> str:
        """One line."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse."""
        found = json.loads(text)
        codes = Counter({int(code): count for code, count in found.pop("codes").items()})
        return cls(codes=codes, **found)


def largest_share(times_s: Sequence[float], width_s: float) -> float:
    """The largest part (0 to 1) of all these times that lies within any `width_s` seconds; 0 when there are none."""
    ordered = sorted(times_s)
    first = largest = 0
    for last, time_s in enumerate(ordered):
        while time_s - ordered[first] > width_s:
            first += 1
        largest = max(largest, last - first + 1)
    return largest / len(ordered) if ordered else 0.0
