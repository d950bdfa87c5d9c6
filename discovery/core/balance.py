"""Who has more clients than its share, and how many of them should go now. Pure.

A gateway's share is by capacity: all are equally full. What it holds is what it reported, less those it has just told
to go, plus the tickets on their way to it; so a move counts from the moment a place is reserved for it, and is never
asked for twice. Balance begins when somebody is far from its share (`START_SHARE`), or an operator asks, and goes on
until all are close (`STOP_SHARE`). Between the two nothing happens, and a client only ever goes from above the share to
below it: so it cannot swing.

It waits until the cluster is at rest: nobody has just come (newcomers get new clients first anyway), nobody is sending
its clients away. A rolling restart is therefore balanced once, at its end.

Gateways with different labels are not balanced with each other: their clients asked for those labels.

Replicas share nothing, and each finds the same surplus. Nothing is doubled, because what gateways are told is not added
up: all follow one replica, of those that answer the one whose URL sorts first, and reserve the places there. What they
are told holds for one beat. When another replica takes over, it does not know who is on the way; and beats come one
after the other, so some that clients came to may have said so and others not yet. Therefore a surplus counts when it
has been there for two beats. The pace is bounded by what one receiver is to be sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from roost.discovery.core.component import Component

START_SHARE, START_COUNT = 0.1, 10
"""Further from its share than a tenth of it, and than so many clients."""

STOP_SHARE, STOP_COUNT = 0.01, 1
"""As close as newcomers are spread."""

SETTLE_S = 15.0
"""Longer than the ramp of a newcomer, and than one gateway's part of a rolling restart."""

RECEIVED_PER_S = 200.0
"""Clients that one gateway is sent in a second: a twentieth of what it can let in."""


Surpluses = dict[Component, tuple[float, float]]
"""How many clients a gateway holds beyond its share, and the share."""


class Balance:
    """What one replica remembers: which gateways, by their labels, are being balanced."""

    def __init__(self) -> None:
        self._under_way: set[frozenset[tuple[str, str]]] = set()
        self._before: dict[Component, float] = {}
        """The surplus of each gateway at its beat before."""

    def ask(self, gateways: Iterable[Component]) -> int:
        """An operator wants it now; how many clients have to move."""
        gateways = list(gateways)
        to_move = 0
        for labels in {gateway.labels for gateway in gateways}:
            surpluses = _surpluses(labels, gateways)
            if _reaches(surpluses, STOP_SHARE, STOP_COUNT):
                self._under_way.add(labels)
                to_move += sum(int(more) for more, _ in surpluses.values() if more > 0)
        return to_move

    def surplus(self, gateway: Component, gateways: Iterable[Component], now: float) -> tuple[int, float]:
        """How many clients it should give away until its next beat, and at most how many a second; at each beat."""
        gateways = list(gateways)
        surpluses = _surpluses(gateway.labels, gateways)
        goes_on = self._goes_on(gateway.labels, surpluses, gateways, now)
        own, _ = surpluses.get(gateway, (0.0, 0.0))
        own, self._before[gateway] = min(own, self._before.get(gateway, 0.0)), own
        if len(self._before) > len(gateways):
            self._before = {g: self._before[g] for g in gateways if g in self._before}
        if own < 1 or not goes_on:
            return 0, 0.0
        receivers = sum(more <= -1 for more, _ in surpluses.values())
        part = own / sum(more for more, _ in surpluses.values() if more > 0)
        return int(own), max(RECEIVED_PER_S * receivers * part, 1.0)

    def _goes_on(
        self, labels: frozenset[tuple[str, str]], surpluses: Surpluses, gateways: list[Component], now: float
    ) -> bool:
        if any(g.labels == labels and g.beat.draining and g.beat.load for g in gateways):
            return False
        if labels in self._under_way:
            if not _reaches(surpluses, STOP_SHARE, STOP_COUNT):
                self._under_way.discard(labels)
        elif _reaches(surpluses, START_SHARE, START_COUNT) and all(g.since + SETTLE_S <= now for g in surpluses):
            self._under_way.add(labels)
        return labels in self._under_way


def rooms(labels: frozenset[tuple[str, str]], gateways: Iterable[Component]) -> dict[Component, int]:
    """Who has less than its share, and by how many clients."""
    surpluses = _surpluses(labels, list(gateways))
    return {gateway: int(-more) for gateway, (more, _) in surpluses.items() if more <= -1}


def _surpluses(labels: frozenset[tuple[str, str]], gateways: list[Component]) -> Surpluses:
    group = [g for g in gateways if g.labels == labels and not g.beat.draining and g.beat.capacity]
    held = [max(g.beat.load - g.beat.moving - g.leaving, 0) + g.reserved for g in group]
    level = sum(held) / (sum(g.beat.capacity for g in group) or 1)
    shares = [level * g.beat.capacity for g in group]
    return {g: (has - share, share) for g, has, share in zip(group, held, shares, strict=True)}


def _reaches(surpluses: Surpluses, share: float, count: float) -> bool:
    """Whether somebody is further from its share than both."""
    return any(abs(more) > max(share * fair, count) for more, fair in surpluses.values())


def in_time(count: int, per_s: float, interval_s: float) -> int:
    """So many of `count` go until the next beat."""
    return min(count, ceil(per_s * interval_s))
