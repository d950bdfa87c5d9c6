"""What a replica of discovery guesses of the tickets that other replicas hand out. Pure.

Replicas share nothing. Each knows how full gateways are, as of their last beat, and which tickets it has handed out
itself since; what the others promised meanwhile it does not see. Where one gateway has room for a hundred more than the
rest, each of five replicas would send it a hundred, and it ends up four hundred over.

But beats go to all replicas, and list every redeemed ticket. So a replica hears which part of all tickets is its own,
and since the others see the same beats and decide by the same rule, what they have on the way is like what it has
itself: all that is promised is its own reservations times `echo`, one over its part. With two replicas asked alike that
is 2, and 1 for the only one that is asked. Until it has heard enough, it believes what beats say of how many replicas
there are.
"""

from __future__ import annotations

from math import exp

WINDOW_S = 10.0
"""How long what was heard counts (it decays): when a replica dies, its clients ask the others from then on."""

PRIOR_COUNT = 10.0
"""So many tickets heard weigh as much as the number of replicas."""

MAX_MULTIPLIER = 16.0
"""One that is hardly ever asked knows nothing that counts; and by this much a wrong guess is bounded."""


class ReplicaShare:
    """Which part of all tickets is this replica's, lately."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._own = 0.0
        self._all = 0.0

    def hear(self, own: int, total: int, now: float) -> None:
        """So many tickets were redeemed, so many of them from here."""
        factor = exp((self._since - now) / WINDOW_S)
        self._since = now
        self._own = self._own * factor + own
        self._all = self._all * factor + total

    def multiplier(self, replicas: int) -> float:
        """What one ticket of this replica stands for, when there may be so many replicas; 1 to `MAX_MULTIPLIER`."""
        own = self._own + PRIOR_COUNT / max(replicas, 1)
        return min(max((self._all + PRIOR_COUNT) / own, 1.0), MAX_MULTIPLIER)
