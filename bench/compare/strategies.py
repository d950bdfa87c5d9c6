"""Strategies for choosing a gateway, for `bench.compare.simulation`: three usual ones, and the one that Roost uses.

The usual ones are round robin, counted in each replica; the gateway that looks least loaded by its last heartbeat; and
the better of two random gateways by their last heartbeats (Mitzenmacher, "The power of two choices in randomized load
balancing", 2001). The strategy of Roost is the production code, `roost.discovery.core.table`, with one `Table` for each
replica.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.compare.simulation import CHOICES, Chooser, Ints, Scene, capacities
from roost.discovery.core.table import TICKET_S, Table
from roost.discovery.heartbeats import MAX_REDEEMED
from roost.wire.messages.registry import Beat, ComponentKind


class _ByBeats:
    """The knowledge of the usual rules: how full each gateway was at its last heartbeat. All replicas know the same."""

    def __init__(self, scene: Scene) -> None:
        self._chance = np.random.default_rng(scene.seed + 1)
        self._count = scene.gateways
        self._capacity = capacities(scene)
        self._fullness = np.zeros(scene.gateways)

    def beat(self, gateway: int, load: int, redeemed: Ints, now: float) -> None:
        self._fullness[gateway] = load / self._capacity[gateway]


class RoundRobin(_ByBeats):
    """Each replica assigns clients to gateways in turn."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._next = self._chance.integers(0, self._count, scene.replicas)

    def choose(self, replicas: Ints, tickets: Ints, now: float) -> Ints:
        counts = np.bincount(replicas, minlength=len(self._next))
        order = np.argsort(replicas, kind="stable")
        turn = np.empty(len(replicas), dtype=np.int64)
        turn[order] = np.arange(len(replicas)) - np.repeat(np.cumsum(counts) - counts, counts)
        first = self._next[replicas] + turn
        self._next = (self._next + counts) % self._count
        return (first[:, None] + np.arange(CHOICES)) % self._count


class LeastLoaded(_ByBeats):
    """The emptiest by the last beats, among equals at random."""

    def choose(self, replicas: Ints, tickets: Ints, now: float) -> Ints:
        ties = self._chance.random((len(tickets), self._count))
        near = np.argpartition(self._fullness, min(CHOICES, self._count - 1))
        least = self._fullness[near[:CHOICES]].max()
        candidates = np.flatnonzero(self._fullness <= least)
        keys = np.round(self._fullness[candidates] * 1e9) + ties[:, : len(candidates)] * 0.5
        return candidates[np.argsort(keys, axis=1)[:, :CHOICES]]


class BestOfTwo(_ByBeats):
    """Two at random, and of these the emptier by the last beats."""

    def choose(self, replicas: Ints, tickets: Ints, now: float) -> Ints:
        first = self._chance.integers(0, self._count, len(tickets))
        second = (first + self._chance.integers(1, self._count, len(tickets))) % self._count
        is_worse = self._fullness[first] > self._fullness[second]
        best, other = np.where(is_worse, second, first), np.where(is_worse, first, second)
        third = self._chance.integers(0, self._count, len(tickets))
        return np.stack([best, other, third], axis=1)


class Ours:
    """`roost.discovery.core.table.Table`, as `roost.discovery.server` uses it."""

    def __init__(self, scene: Scene) -> None:
        self._chance = np.random.default_rng(scene.seed + 1)
        self._capacity = [int(places) for places in capacities(scene)]
        self._tables = [Table(-10 * TICKET_S, scene.beat_s) for _ in range(scene.replicas)]
        self._replicas = scene.replicas
        self._beats = [0] * scene.gateways

    def beat(self, gateway: int, load: int, redeemed: Ints, now: float) -> None:
        self._beats[gateway] += 1
        beat = Beat(
            ComponentKind.GATEWAY,
            str(gateway),
            self._beats[gateway],
            f"ws://{gateway}",
            self._capacity[gateway],
            load,
            redeemed=[_serial(ticket) for ticket in redeemed[-MAX_REDEEMED:].tolist()],
            replicas=self._replicas,
        )
        for table in self._tables:
            assert table.beat(beat, now)

    def choose(self, replicas: Ints, tickets: Ints, now: float) -> Ints:
        rows = []
        for replica, ticket, draw in zip(
            replicas.tolist(), tickets.tolist(), self._chance.random(len(tickets)).tolist(), strict=True
        ):
            table = self._tables[replica]
            chosen = table.choose_with_alternates(now, draw, CHOICES - 1)
            if chosen:
                table.reserve(_serial(ticket), chosen[0], now)
            row = [int(gateway.beat.incarnation) for gateway in chosen]
            rows.append(row + [-1] * (CHOICES - len(row)))
        return np.array(rows, dtype=np.int64)


def _serial(ticket: int) -> bytes:
    return ticket.to_bytes(8, "big")


OURS = "ours"
CHOOSERS: dict[str, Callable[[Scene], Chooser]] = {
    "round robin": RoundRobin,
    "least loaded": LeastLoaded,
    "best of two": BestOfTwo,
    OURS: Ours,
}
