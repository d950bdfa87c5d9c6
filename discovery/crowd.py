"""When to come back: told to clients for whom nobody has room, from the rate at which clients really get in. Pure.

Both counts decay over `WINDOW_S`, so they say how many were let in and turned away lately. Who was turned away is
taken to be waiting still; at the present rate the last of them gets in after waiting / rate seconds. So each is told
about its own turn, and clients shift that by a random half.
"""

from __future__ import annotations

from math import ceil, exp

WINDOW_S = 10.0
"""Long against a beat, short against the patience of a client."""

SLOWEST_RATE = 10.0
"""Clients a second that are hoped for when none got in lately: a gateway may come back any moment."""

LONGEST_S = 60
"""Nobody is sent away for longer: room may appear sooner than the past says."""


class Crowd:
    """How many clients got in and how many did not, lately."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._admitted = 0.0
        self._refused = 0.0

    def admit(self, now: float) -> None:
        """A client got a ticket."""
        self._decay(now)
        self._admitted += 1.0

    def refuse(self, now: float) -> int:
        """A client found no room; whole seconds after which it should ask again, 1 to `LONGEST_S`."""
        self._decay(now)
        self._refused += 1.0
        rate = max(self._admitted / WINDOW_S, SLOWEST_RATE)
        return min(max(1, ceil(self._refused / rate)), LONGEST_S)

    def _decay(self, now: float) -> None:
        factor = exp((self._since - now) / WINDOW_S)
        self._since = now
        self._admitted *= factor
        self._refused *= factor
