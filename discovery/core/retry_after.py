"""Computes Retry-After for clients that find no gateway, from the rate at which clients are admitted. Pure.

The counts of admitted and refused clients decay over `WINDOW_S`, so they describe the last seconds. Refused clients are
assumed to be still waiting; at the current rate the last of them is admitted after waiting / rate seconds. So each
client is told about when it will be admitted. The client library multiplies that time by a random factor from 0.5 to
1.5.

While gateways are full, the current rate is the right one: capacity becomes free as clients leave. While there is no
gateway at all, the current rate is zero and says nothing. Gateways that come back have all their capacity free at once
and admit clients as fast as they ever did, so then the best rate of the last minutes is used.

A replica that just started knows no gateway until it has received a heartbeat of each. Clients that ask before that are
told to ask again one second later.
"""

from __future__ import annotations

from enum import Enum, auto
from math import ceil, exp

WINDOW_S = 10.0
"""Time constant of the counts: long compared with a heartbeat interval, short compared with what clients wait."""

MEMORY_S = 600.0
"""Time constant with which the best rate decays."""

SLOWEST_RATE = 10.0
"""Clients per second that are assumed when none was admitted lately: a gateway may come back at any moment."""

LEAST_BEST_RATE = 500.0
"""Clients per second that returning gateways are assumed to admit at least; a single gateway admits some thousands."""

LONGEST_S = 60
"""Longest Retry-After: capacity may become free sooner than the past suggests."""


class Want(Enum):
    """Why a client cannot be sent to a gateway."""

    OF_ROOM = auto()
    """All gateways are full."""
    OF_GATEWAYS = auto()
    """There are none, or all are draining."""
    OF_BEATS = auto()
    """This replica has just started and does not know the gateways yet."""


class RetryAfterEstimator:
    """Counts of clients that were admitted and refused lately, and the Retry-After that follows from them."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._admitted = 0.0
        self._refused = 0.0
        self._best_rate = 0.0

    def admit(self, now: float) -> None:
        """A client got a ticket."""
        self._decay(now)
        self._admitted += 1.0
        self._best_rate = max(self._best_rate, self._admitted / WINDOW_S)

    def refuse(self, now: float, want: Want = Want.OF_ROOM) -> int:
        """Note a refused client; returns after how many whole seconds it should ask again, 1 to `LONGEST_S`."""
        self._decay(now)
        if want is Want.OF_BEATS:
            return 1
        self._refused += 1.0
        rate = max(self._admitted / WINDOW_S, SLOWEST_RATE)
        if want is Want.OF_GATEWAYS:
            rate = max(rate, self._best_rate, LEAST_BEST_RATE)
        return min(max(1, ceil(self._refused / rate)), LONGEST_S)

    def _decay(self, now: float) -> None:
        factor = exp((self._since - now) / WINDOW_S)
        self._best_rate *= exp((self._since - now) / MEMORY_S)
        self._since = now
        self._admitted *= factor
        self._refused *= factor
