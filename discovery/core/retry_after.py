"""When to come back: told to clients for whom nobody has room, from the rate at which clients really get in. Pure.

Both counts decay over `WINDOW_S`, so they say how many were let in and turned away lately. Who was turned away is
taken to be waiting still; at the present rate the last of them gets in after waiting / rate seconds. So each is told
about its own turn, and clients shift that by a random half.

The present rate is the one that counts while gateways are full: places come free as clients leave. While no gateway is
there at all, it would say that nobody ever gets in. Gateways that come back have all their places free at once, and let
in as many as they ever did: then the best rate of the last minutes counts.

A replica that just started knows no gateway until it has heard a beat of each. Whoever asks meanwhile is told to come
again when it has.
"""

from __future__ import annotations

from enum import Enum, auto
from math import ceil, exp

WINDOW_S = 10.0
"""Long against a beat, short against the patience of a client."""

MEMORY_S = 600.0
"""How long the best rate is remembered (it decays)."""

SLOWEST_RATE = 10.0
"""Clients a second that are hoped for when none got in lately: a gateway may come back any moment."""

LEAST_BEST_RATE = 500.0
"""Clients a second that gateways are trusted to let in although they never had to: one alone lets in some thousands."""

LONGEST_S = 60
"""Nobody is sent away for longer: room may appear sooner than the past says."""


class Want(Enum):
    """Why a client cannot be sent anywhere."""

    OF_ROOM = auto()
    """All gateways are full."""
    OF_GATEWAYS = auto()
    """There are none, or all are leaving."""
    OF_BEATS = auto()
    """This replica is too young to know them."""


class RetryAfterEstimator:
    """How many clients got in and how many did not, lately."""

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
        """A client found no room; whole seconds after which it should ask again, 1 to `LONGEST_S`."""
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
