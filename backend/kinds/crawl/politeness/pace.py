"""How fast requests to a host may follow, and when to retry after errors. Pure: `now` is monotonic seconds."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC
from email.utils import parsedate_to_datetime

from roost.backend.kinds.crawl.reasons import Failed

SLOW_S = 1.0
"""A slower answer may mean that the host is overloaded; a faster one never counts as slow."""
SLOWER = 4.0
"""A host counts as slow at this multiple of its best response time."""
TRIES = 3
TIMEOUT_TRIES = 2
"""A page that runs into its time limit twice occupies a worker's slot for a minute."""
BACKOFF_S = 1.0
MOST_BACKOFF_S = 60.0
MOST_WAIT_S = 300.0
"""A longer pause is respected too, but then the host's pages fail instead of waiting."""
_DIGITS = 12


class Window:
    """How many concurrent requests a host can handle.

    The limit is halved when the host slows down or answers with errors, and then grows by one for each round of
    requests (additive increase, multiplicative decrease).
    """

    def __init__(self) -> None:
        self._open = self._most = float("inf")
        self._best_s = float("inf")
        self._quiet_until = 0.0

    def at_once(self, most: int) -> int:
        """Return how many requests may run: between 1 and `most`, the worker's limit for other reasons; 0 when that is
        0.
        """
        if most:
            self._most = most
        return self.of(most)

    def of(self, wanted: int) -> int:
        """Return how many of `wanted` concurrent requests the host can handle; at least 1 unless `wanted` is 0."""
        return int(min(self._open, wanted))

    def answered(self, after_s: float, now: float) -> None:
        """Note a successful answer, `after_s` seconds after its request began."""
        self._best_s = min(self._best_s, after_s)
        if after_s > max(SLOW_S, SLOWER * self._best_s):
            self.troubled(after_s, now)
        elif self._open < float("inf"):
            self._open += 1 / self._open

    def troubled(self, round_s: float, now: float) -> None:
        """Note that the host is overloaded; further signs within the same round change nothing."""
        used = min(self._open, self._most)
        if now >= self._quiet_until and used < float("inf"):
            self._quiet_until = now + max(round_s, SLOW_S)
            self._open = max(1.0, used / 2)


class Tries:
    """Counts the failed attempts of pages; forgets the oldest beyond `most` pages."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._counts: OrderedDict[str, int] = OrderedDict()

    def failed(self, url: str) -> int:
        """Count one more failure; return how many there are now."""
        count = self._counts[url] = self._counts.pop(url, 0) + 1
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        return count

    def count(self, url: str) -> int:
        """Return how many failures there were."""
        return self._counts.get(url, 0)

    def over(self, url: str) -> None:
        """Forget the page: its result is final, and the next request for it starts at zero."""
        self._counts.pop(url, None)


def backoff_s(failures: int, jitter: float) -> float:
    """Return how many seconds to wait after this many failures (1 or more). `jitter` is a random number in [0, 1)."""
    return float(min(MOST_BACKOFF_S, BACKOFF_S * 2 ** min(failures - 1, 30)) * (0.5 + jitter))


def retry_after_s(text: str, wall_now: float) -> float:
    """Return the seconds of a Retry-After header (RFC 9110 section 10.2.3); 0 when it is invalid."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_DIGITS])
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - wall_now)
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


def is_passing(reason: str, status: int) -> bool:
    """Whether the error is temporary: status 429 or 5xx, a timeout, or a connection that was closed too early."""
    return status == 429 or 500 <= status <= 599 or reason in (Failed.TIMEOUT, Failed.CUT_OFF)
