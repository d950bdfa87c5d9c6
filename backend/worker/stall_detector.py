"""Whether an event loop stands still, decided from regular looks at it.

Time is counted in looks, as `active_timeout` counts it in turns, and no clock is read. A process that is stopped, or
whose machine sleeps or is starved, takes no looks meanwhile, so that such a pause counts for one look, however long it
is.
"""

from __future__ import annotations

LOOK_S = 0.5
"""Between two looks. A loop that is alive answers each within milliseconds; one more wake-up in 0.5 s costs nothing."""


class StallDetector:
    """Counts looks that found no progress since the look before."""

    def __init__(self, bound_s: float) -> None:
        """`bound_s`: how long nothing may happen, rounded up to whole looks."""
        self._bound = max(1, -int(-bound_s // LOOK_S))
        self._mark: object = None
        self._looks = 0

    @property
    def still_s(self) -> float:
        """For how long nothing has happened, in time in which the process itself could have gone on."""
        return self._looks * LOOK_S

    def look(self, mark: object) -> bool:
        """Take note of `mark`, which differs from that of the last look when something happened in between.

        Returns True when nothing has happened for the bound, and again each time that it has passed once more.
        """
        self._looks = self._looks + 1 if mark == self._mark else 0
        self._mark = mark
        return self._looks > 0 and self._looks % self._bound == 0
