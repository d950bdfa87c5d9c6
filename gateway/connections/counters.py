"""Event counters as plain integers: counting is one addition; metric objects are made only for a scrape."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Totals since the start, except `open_now`, which is the current number."""

    accepted: int = 0
    opened: int = 0
    open_now: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pings: int = 0
    slow_closes: int = 0
    moves: int = 0
    application_errors: int = 0
    accept_pauses: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    closed: Counter[int] = field(default_factory=Counter)
    """Closed connections by the close code that `on_close` got."""

    def pause(self) -> None:
        """Count that accepting was paused."""
        self.accept_pauses += 1
