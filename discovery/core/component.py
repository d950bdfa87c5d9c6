"""One live component, and how much it is wanted: the rank by which gateways are chosen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from roost.wire.messages.registry import Beat

RAMP_S = 10.0
"""How long a gateway that joins others is a newcomer."""

RAMP_START = 0.05
"""The share of its capacity that a newcomer may have promised at first; rises to all of it."""

STRAINED_LAG_MS = 250.0
"""A loop that is this late, beat after beat, has more work than it can do: an idle one's is a few ms, a storm's 100."""

LAG_WEIGHT = 0.5
"""Of the newest beat in the mean lag: one hiccup of a second does not count for long."""

GIVES_WAY = 1e6
"""Added to a rank: after everybody else who has room."""

ELSEWHERE = 1e3
"""Added to a rank for who lacks the labels that a client prefers; less than giving way, so that a part that is not well
is not preferred for its place."""


@dataclass(slots=True, eq=False)
class Component:
    """A live component: its last beat, when it was first and last heard, and what was promised on top of its load."""

    beat: Beat
    since: float
    heard: float
    is_newcomer: bool = False
    earlier: tuple[str, ...] = ()
    reserved: int = 0
    guessed: int = 0
    leaving: int = 0
    """Its clients for whom places were reserved at others since its last beat; the next one counts them as moving."""
    promisable: float = inf
    lag_ms: float = 0.0
    """The mean of what the last beats said."""
    labels: frozenset[tuple[str, str]] = frozenset()
    rank: float = inf

    @property
    def room(self) -> int:
        """Connections that it can still take."""
        return self.beat.capacity - self.beat.load - self.reserved

    def hear(self, beat: Beat, now: float) -> None:
        """Take the newest beat."""
        self.beat, self.heard, self.leaving = beat, now, 0
        self.labels = frozenset(beat.labels.items())
        if beat.lag_ms >= 0:  # not for a NaN
            self.lag_ms += (min(beat.lag_ms, 4 * STRAINED_LAG_MS) - self.lag_ms) * LAG_WEIGHT

    def weigh(self, echo: float) -> None:
        """Bring `rank`, by which choices go, up to date: how full it is; infinite when nobody may come.

        Each ticket of this replica stands for `echo` tickets on the way (`roost.discovery.core.replica_share`). That is
        a guess, which moves choices and never makes a gateway full.
        """
        beat = self.beat
        if beat.draining or self.room <= 0:
            self.rank = inf
            return
        promised = self.reserved * echo
        self.rank = (beat.load + promised + self.guessed) / beat.capacity
        if promised >= self.promisable:
            self.rank += GIVES_WAY
        if self.lag_ms >= STRAINED_LAG_MS:
            self.rank += 2 * GIVES_WAY

    def ramp(self, now: float) -> None:
        """Let a newcomer have more promised as it grows up."""
        age = (now - self.since) / RAMP_S
        self.is_newcomer = self.is_newcomer and age < 1.0
        share = RAMP_START + (1.0 - RAMP_START) * age
        self.promisable = max(1.0, self.beat.capacity * share) if self.is_newcomer else inf
