"""How long to wait before the next try: exponential, with full jitter. Pure; chance comes in as a number in [0, 1).

Full jitter draws from the whole interval: after a crash that cuts off thousands of clients at one moment, their
tries are spread evenly instead of coming in waves.
"""

from __future__ import annotations

FIRST_S = 0.5
LONGEST_S = 30.0
STEADY_S = 10.0
"""A connection that lasted so long counts as a success: the next loss begins anew."""


class Backoff:
    """One client's patience with failures in a row."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self.failures = 0

    def fail(self, draw: float, retry_after_s: float | None = None) -> float:
        """Another try failed; seconds until the next. A time told by the server holds, give or take a half."""
        bound_s = min(self._longest_s, self._first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        if retry_after_s is not None:
            return max(0.0, retry_after_s) * (0.5 + draw)
        return bound_s * draw

    def succeed(self) -> None:
        """Things work again."""
        self.failures = 0
