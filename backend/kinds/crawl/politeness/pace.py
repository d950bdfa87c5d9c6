"""How fast a host may be asked, and when again after trouble. Pure: `now` is monotonic seconds, luck is in [0, 1)."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC
from email.utils import parsedate_to_datetime

SLOW_S = 1.0
"""An answer that takes longer may be a host under load; below it nobody minds."""
SLOWER = 4.0
"""Times its best answer: the host slows."""
STATUS_TRIES = 3
TIMEOUT_TRIES = 2
"""A page that takes its whole time twice takes a minute of a worker's place."""
BACKOFF_S = 1.0
MOST_BACKOFF_S = 60.0
MOST_WAIT_S = 300.0
"""A host that asks for a longer pause gets it: its pages fail instead of waiting."""
_DIGITS = 12


class Window:
    """How many requests a host bears at a time: fewer when it slows or complains, then one more for each round."""

    def __init__(self) -> None:
        self._open = self._most = float("inf")
        self._best_s = float("inf")
        self._quiet_until = 0.0

    def at_once(self, most: int) -> int:
        """Requests at a time, between 1 and `most` (0 when that is 0), which the worker may make for other reasons."""
        if most:
            self._most = most
        return self.of(most)

    def of(self, wanted: int) -> int:
        """How many of the `wanted` requests at a time the host bears: 1 or more of 1 or more."""
        return int(min(self._open, wanted))

    def answered(self, after_s: float, now: float) -> None:
        """A request was answered well, so many seconds after it was begun."""
        self._best_s = min(self._best_s, after_s)
        if after_s > max(SLOW_S, SLOWER * self._best_s):
            self.troubled(after_s, now)
        elif self._open < float("inf"):
            self._open += 1 / self._open

    def troubled(self, round_s: float, now: float) -> None:
        """The host is overloaded; what was asked within the last round is no further news."""
        used = min(self._open, self._most)
        if now >= self._quiet_until and used < float("inf"):
            self._quiet_until = now + max(round_s, SLOW_S)
            self._open = max(1.0, used / 2)


class Tries:
    """How often pages were tried in vain; forgets the oldest beyond `most`."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._counts: OrderedDict[str, int] = OrderedDict()

    def failed(self, url: str) -> int:
        """Once more; how often now."""
        count = self._counts[url] = self._counts.pop(url, 0) + 1
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        return count

    def count(self, url: str) -> int:
        """How often so far."""
        return self._counts.get(url, 0)

    def over(self, url: str) -> None:
        """It is decided: who asks next starts anew."""
        self._counts.pop(url, None)


def backoff_s(failures: int, luck: float) -> float:
    """How long to wait after so many failures (1 or more)."""
    return float(min(MOST_BACKOFF_S, BACKOFF_S * 2 ** min(failures - 1, 30)) * (0.5 + luck))


def retry_after_s(text: str, wall_now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110 section 10.2.3); 0 when it asks for nothing."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_DIGITS])
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - wall_now)
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


def is_passing(reason: str, status: int) -> bool:
    """Trouble that may be over soon."""
    return status == 429 or 500 <= status <= 599 or reason == "timeout"
