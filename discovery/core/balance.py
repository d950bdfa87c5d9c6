"""Decides which gateways have more clients than their share, and how many clients should move now. Pure.

The share of a gateway is the number of clients it would have if all gateways were equally full; its surplus is the
number of clients that it has beyond its share. The count of its clients is the load it reported, minus the clients it
has just told to move, plus the tickets that were issued for it. So a move counts from the moment its endpoint is
reserved, and is never requested twice. Balancing begins when a gateway is far from its share (`START_SHARE`) or an
operator asks, and continues until all are close (`STOP_SHARE`). Between these two limits nothing happens, and clients
only move from gateways above their share to gateways below it, so the load cannot oscillate.

Balancing waits until the cluster is stable: no gateway has just started (new gateways get new clients first anyway),
and none is draining. A rolling restart is therefore balanced once, at its end.

Gateways with different labels are not balanced with each other, because their clients asked for those labels.

Replicas share nothing, and each computes the same surplus. Directives of several replicas are not added up: every
gateway follows the answering replica whose URL sorts first, and reserves endpoints there. Directives are valid for one
heartbeat. When another replica takes over, it does not know which clients are moving; and heartbeats arrive one after
the other, so some receivers may have reported their new clients and others not yet. Therefore a surplus counts only
when it has lasted for two heartbeats. The rate is limited by how many clients one receiver may be sent per second.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from roost.discovery.core.component import Component

START_SHARE, START_COUNT = 0.1, 10
"""Balancing starts when a gateway differs from its share by more than this fraction and by more than this count."""

STOP_SHARE, STOP_COUNT = 0.01, 1
"""Balancing stops within these limits; new clients are distributed about as evenly."""

SETTLE_S = 15.0
"""Longer than the ramp of a new gateway, and than one gateway's turn in a rolling restart."""

RECEIVED_PER_S = 200.0
"""Clients sent to one gateway per second: a twentieth of what it can accept."""


Surpluses = dict[Component, tuple[float, float]]
"""By gateway: how many clients it has beyond its share, and the share."""


class Balance:
    """The balancing state of one replica: which groups of gateways, by their labels, are being balanced."""

    def __init__(self) -> None:
        self._under_way: set[frozenset[tuple[str, str]]] = set()
        self._before: dict[Component, float] = {}
        """The surplus of each gateway at its previous heartbeat."""

    def ask(self, gateways: Iterable[Component]) -> int:
        """Start balancing now, as an operator asked; returns how many clients have to move."""
        gateways = list(gateways)
        to_move = 0
        for labels in {gateway.labels for gateway in gateways}:
            surpluses = _surpluses(labels, gateways)
            if _reaches(surpluses, STOP_SHARE, STOP_COUNT):
                self._under_way.add(labels)
                to_move += sum(int(more) for more, _ in surpluses.values() if more > 0)
        return to_move

    def surplus(self, gateway: Component, gateways: Iterable[Component], now: float) -> tuple[int, float]:
        """How many clients the gateway should give away, and the most per second. Called once for each heartbeat."""
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
        fraction = own / sum(more for more, _ in surpluses.values() if more > 0)
        return int(own), max(RECEIVED_PER_S * receivers * fraction, 1.0)

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
    """The gateways that have fewer clients than their share, with the number that is missing."""
    surpluses = _surpluses(labels, list(gateways))
    return {gateway: int(-more) for gateway, (more, _) in surpluses.items() if more <= -1}


def _surpluses(labels: frozenset[tuple[str, str]], gateways: list[Component]) -> Surpluses:
    group = [g for g in gateways if g.labels == labels and not g.beat.draining and g.beat.capacity]
    held = [max(g.beat.load - g.beat.moving - g.leaving, 0) + g.reserved for g in group]
    level = sum(held) / (sum(g.beat.capacity for g in group) or 1)
    shares = [level * g.beat.capacity for g in group]
    return {g: (has - share, share) for g, has, share in zip(group, held, shares, strict=True)}


def _reaches(surpluses: Surpluses, share: float, count: float) -> bool:
    """Whether a gateway differs from its share by more than both limits."""
    return any(abs(more) > max(share * fair, count) for more, fair in surpluses.values())


def in_time(count: int, per_s: float, interval_s: float) -> int:
    """How many of `count` clients move until the next heartbeat, at `per_s` a second."""
    return min(count, ceil(per_s * interval_s))
