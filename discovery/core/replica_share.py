"""A replica's estimate of how many tickets the other replicas of discovery issue. Pure.

Replicas share nothing. Each knows how full gateways were at their last heartbeat, and which tickets it has issued
itself since then; it does not see the tickets of other replicas. Where one gateway has capacity for a hundred more than
the rest, each of five replicas would send it a hundred, and it would end up with four hundred too many.

But heartbeats go to all replicas and list every redeemed ticket, so a replica learns which share of all tickets is its
own. The others see the same heartbeats and decide by the same rule, so their open reservations are like its own: the
reservations of all replicas are about its own times a multiplier, which is one divided by its share. With two replicas
that get equally many requests the multiplier is 2; for a replica that gets all of them it is 1. Until enough tickets
were reported, the number of replicas that heartbeats name is used instead.
"""

from __future__ import annotations

from math import exp

WINDOW_S = 10.0
"""Time constant with which counts decay: when a replica dies, its clients ask the others from then on."""

PRIOR_COUNT = 10.0
"""This many reported tickets weigh as much as the number of replicas."""

MAX_MULTIPLIER = 16.0
"""Upper bound. A replica that gets hardly any requests has too little data, and the bound limits a wrong estimate."""


class ReplicaShare:
    """This replica's recent share of all tickets."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._own = 0.0
        self._all = 0.0

    def hear(self, own: int, total: int, now: float) -> None:
        """Note that `total` tickets were redeemed, `own` of them issued by this replica."""
        factor = exp((self._since - now) / WINDOW_S)
        self._since = now
        self._own = self._own * factor + own
        self._all = self._all * factor + total

    def multiplier(self, replicas: int) -> float:
        """How many tickets of all replicas one ticket of this one stands for, from 1 to `MAX_MULTIPLIER`.

        `replicas` is the number of replicas that the last heartbeat named.
        """
        own = self._own + PRIOR_COUNT / max(replicas, 1)
        return min(max((self._all + PRIOR_COUNT) / own, 1.0), MAX_MULTIPLIER)
