"""One live component, and the rank by which gateways are chosen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from roost.wire.messages.registry import Beat

RAMP_S = 10.0
"""How long a gateway that joins a running cluster is a newcomer."""

RAMP_START = 0.05
"""The share of a newcomer's capacity that may be reserved at first; it rises to all of the capacity."""

STRAINED_LAG_MS = 250.0
"""Mean event loop lag from which a gateway is overloaded. Idle it is a few ms, in a connect storm 100 ms."""

LAG_WEIGHT = 0.5
"""Weight of the newest heartbeat in the mean lag: a single pause of a second is soon forgotten."""

GIVES_WAY = 1e6
"""Added to the rank of a gateway that is chosen only when no other gateway has free capacity."""

ELSEWHERE = 1e3
"""Added to the rank of a gateway without the labels that a client prefers. It is less than `GIVES_WAY`, so that an
overloaded gateway is not preferred for its labels."""


@dataclass(slots=True, eq=False)
class Component:
    """A live component: its last heartbeat, the times of its first and last one, and reservations beyond its load."""

    beat: Beat
    since: float
    heard: float
    is_newcomer: bool = False
    earlier: tuple[str, ...] = ()
    reserved: int = 0
    guessed: int = 0
    leaving: int = 0
    """Its clients with endpoints reserved elsewhere since its last heartbeat; the next one reports them as moving."""
    promisable: float = inf
    lag_ms: float = 0.0
    """Weighted mean of the lag in the last heartbeats."""
    labels: frozenset[tuple[str, str]] = frozenset()
    rank: float = inf

    @property
    def room(self) -> int:
        """Connections that it can still accept."""
        return self.beat.capacity - self.beat.load - self.reserved

    def hear(self, beat: Beat, now: float) -> None:
        """Store the newest heartbeat."""
        self.beat, self.heard, self.leaving = beat, now, 0
        self.labels = frozenset(beat.labels.items())
        if beat.lag_ms >= 0:  # not for a NaN
            self.lag_ms += (min(beat.lag_ms, 4 * STRAINED_LAG_MS) - self.lag_ms) * LAG_WEIGHT

    def weigh(self, multiplier: float) -> None:
        """Update `rank`, by which gateways are chosen: how full it is, or infinite when it accepts no clients.

        Each ticket of this replica stands for `multiplier` tickets of all replicas
        (`roost.discovery.core.replica_share`). That is an estimate: it influences choices, but never makes a gateway
        count as full.
        """
        beat = self.beat
        if beat.draining or self.room <= 0:
            self.rank = inf
            return
        promised = self.reserved * multiplier
        self.rank = (beat.load + promised + self.guessed) / beat.capacity
        if promised >= self.promisable:
            self.rank += GIVES_WAY
        if self.lag_ms >= STRAINED_LAG_MS:
            self.rank += 2 * GIVES_WAY

    def ramp(self, now: float) -> None:
        """Raise the limit on a newcomer's reservations with its age."""
        age = (now - self.since) / RAMP_S
        self.is_newcomer = self.is_newcomer and age < 1.0
        share = RAMP_START + (1.0 - RAMP_START) * age
        self.promisable = max(1.0, self.beat.capacity * share) if self.is_newcomer else inf
