"""What happened so far, as plain integers: counting costs an addition, and only a scrape makes objects of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Totals since the start, but for `open_now`."""

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
    """By the close code that the application was told."""

    def pause(self) -> None:
        """Accepting paused."""
        self.accept_pauses += 1
