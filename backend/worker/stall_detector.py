"""Decide from regular checks whether an event loop is stalled.

Time is counted in checks, as `active_timeout` counts it in turns; no clock is read. A process that is stopped or
starved, or whose machine sleeps, makes no checks in that time. So such a pause counts as one check, however long it is.
"""

from __future__ import annotations

LOOK_S = 0.5
"""Time between two checks. A healthy loop answers within milliseconds; one more wake-up per 0.5 s costs nothing."""


class StallDetector:
    """Counts the checks in a row that found no progress since the check before."""

    def __init__(self, bound_s: float) -> None:
        """`bound_s`: how long the loop may make no progress, rounded up to whole checks."""
        self._bound = max(1, -int(-bound_s // LOOK_S))
        self._mark: object = None
        self._looks = 0

    @property
    def still_s(self) -> float:
        """For how many seconds there was no progress, not counting the time in which the process was suspended."""
        return self._looks * LOOK_S

    def look(self, mark: object) -> bool:
        """Make a check. `mark` must differ from the previous one if there was progress since then.

        Returns True when there was no progress for `bound_s`, and again each time this time has passed once more.
        """
        self._looks = self._looks + 1 if mark == self._mark else 0
        self._mark = mark
        return self._looks > 0 and self._looks % self._bound == 0
