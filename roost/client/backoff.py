"""How long to wait before the next attempt: exponential backoff with full jitter. Pure; random numbers are passed in.

Full jitter draws from the whole interval: after a crash that disconnects thousands of clients at one moment, their
attempts are spread evenly instead of coming in waves.
"""

from __future__ import annotations

FIRST_S = 0.5
LONGEST_S = 30.0
STEADY_S = 10.0
"""A connection that lasted this long counts as a success: after its loss the backoff starts from the beginning."""


class Backoff:
    """The backoff of one client, which grows with consecutive failures."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self.failures = 0

    def fail(self, jitter: float, retry_after_s: float | None = None) -> float:
        """Note a failed attempt; returns the seconds until the next one.

        `jitter` is a random number in [0, 1). A server's `retry_after_s` is used with 50 % jitter in both directions.
        """
        bound_s = min(self._longest_s, self._first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        if retry_after_s is not None:
            return max(0.0, retry_after_s) * (0.5 + jitter)
        return bound_s * jitter

    def succeed(self) -> None:
        """Note a success: the next failure starts from the shortest wait."""
        self.failures = 0
