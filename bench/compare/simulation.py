"""A simulation of very many clients that connect to a cluster at once, in steps of time: where each connects, and which
are refused.

What is modelled. Gateways of two sizes hold some connections already; one in ten was restarted a moment ago and is
empty. All clients ask discovery within `ASK_S`, each at a random replica; a few never use their ticket. A client
arrives at its gateway after a while (`NEAR_S` and an exponential `FAR_S`), waits in a queue until the gateway has
accepted those before it, and is refused where the gateway is full or the queue is longer than `PATIENCE_S`; then it
tries the alternates, then discovery again after a backoff with full jitter. Each gateway sends heartbeats to all
replicas, with its own phase.

What is not modelled: the time that discovery and the network need, lost heartbeats, gateways that fail. The strategy is
the only difference between two runs with one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ASK_S = 10.0
STEP_S = 0.02
NEAR_S, FAR_S = 0.02, 0.2
PATIENCE_S = 5.0
ABSENT_SHARE = 0.02
HELD_SHARE = 0.3
"""Connections that are held already, for each one that comes."""

ROOM = 1.25
"""Places in the cluster for each connection that will be held in the end."""

HASTE = 2.0
"""The cluster accepts so many times faster than its clients come, when they come to all gateways alike."""

SETTLED_S = 20.0
"""How long the gateways that were not restarted have been known."""

CHOICES = 3
"""Gateways named in one answer: the best and its alternates."""

BACKOFF_FIRST_S, BACKOFF_LONGEST_S = 0.5, 30.0
LONGEST_S = 300.0


@dataclass(frozen=True)
class Scene:
    """One storm. Beats are `beat_s` apart."""

    gateways: int
    replicas: int
    beat_s: float
    clients: int
    seed: int = 1


class Chooser(Protocol):
    """A rule by which gateways are chosen, in each of the replicas."""

    def beat(self, gateway: int, load: int, redeemed: Ints, now: float) -> None:
        """A gateway reports, to every replica, its connections and the tickets redeemed since its last beat."""

    def choose(self, replicas: Ints, tickets: Ints, now: float) -> Ints:
        """Return for each client, given its replica and its ticket's number, `CHOICES` gateways, best first; -1 where
        there is none.
        """


@dataclass(frozen=True)
class Outcome:
    """The result. `peak` is the fullest gateway over the mean fullness at the end; `all_in_s` is when the last client
    was accepted, `LONGEST_S` when some were not.
    """

    peak: float
    all_in_s: float
    refusals: int


def capacities(scene: Scene) -> Ints:
    """Every third gateway is twice as large as the others."""
    weights = np.where(np.arange(scene.gateways) % 3 == 0, 2.0, 1.0)
    places = scene.clients * (1 + HELD_SHARE) * ROOM
    shares: Floats = places * weights / weights.sum()
    return np.ceil(shares).astype(np.int64)


def restarted(scene: Scene) -> list[int]:
    """The gateways that are empty at the beginning."""
    return list(range(1, scene.gateways, 10))


class Simulation:
    """The cluster and its clients."""

    def __init__(self, scene: Scene, chooser: Chooser) -> None:
        self._scene, self._chooser = scene, chooser
        self._chance = np.random.default_rng(scene.seed)
        self.capacity = capacities(scene)
        self.load = np.floor(self.capacity * HELD_SHARE / (1 + HELD_SHARE) / ROOM).astype(np.int64)
        self.load[restarted(scene)] = 0
        self._line = np.zeros(scene.gateways, dtype=np.int64)
        self._free_at = np.zeros(scene.gateways)
        rate = scene.clients / ASK_S * HASTE
        self._accept_s = 1 / (rate * self.capacity / self.capacity.sum())
        self._beats_at = self._chance.random(scene.gateways) * scene.beat_s
        self._redeemed: list[list[Ints]] = [[] for _ in range(scene.gateways)]
        self._is_absent = self._chance.random(scene.clients) < ABSENT_SHARE
        self._choices = np.zeros((scene.clients, CHOICES), dtype=np.int64)
        self._turn = np.zeros(scene.clients, dtype=np.int64)
        self._failures = np.zeros(scene.clients, dtype=np.int64)
        self._ticket = np.zeros(scene.clients, dtype=np.int64)
        self._tickets = 0
        self._asks: dict[int, list[Ints]] = {}
        self._arrivals: dict[int, list[Ints]] = {}
        self._accepts: dict[int, list[tuple[Ints, Ints]]] = {}
        self.refusals = 0

    def run(self) -> Outcome:
        """Until every client that wants to is in, or `LONGEST_S` are over."""
        scene = self._scene
        asks_at = self._chance.random(scene.clients) * ASK_S
        self._put(self._asks, np.arange(scene.clients), asks_at)
        wanted, held = scene.clients - int(self._is_absent.sum()), int(self.load.sum())
        inside, step = 0, 0
        self._warm_up()
        while inside < wanted and step * STEP_S < LONGEST_S:
            now = step * STEP_S
            self._beat(now)
            self._ask(step, now)
            self._arrive(step, now)
            inside += self._accept(step)
            step += 1
        assert int(self.load.sum()) == held + inside
        return Outcome(self._peak(), round(step * STEP_S, 2), self.refusals)

    def _warm_up(self) -> None:
        """All gateways are known when it begins; the restarted ones from that moment on."""
        new = set(restarted(self._scene))
        nothing = np.empty(0, dtype=np.int64)
        for now in [*np.arange(-SETTLED_S, 0, self._scene.beat_s).tolist(), 0.0]:
            for gateway in range(self._scene.gateways):
                if gateway not in new or now == 0:
                    self._chooser.beat(gateway, int(self.load[gateway]), nothing, now)

    def _peak(self) -> float:
        return float((self.load / self.capacity).max() / (self.load.sum() / self.capacity.sum()))

    def _beat(self, now: float) -> None:
        for gateway in np.flatnonzero(self._beats_at <= now):
            told = self._redeemed[gateway]
            redeemed = np.concatenate(told) if told else np.empty(0, dtype=np.int64)
            told.clear()
            self._chooser.beat(int(gateway), int(self.load[gateway]), redeemed, now)
            self._beats_at[gateway] += self._scene.beat_s

    def _ask(self, step: int, now: float) -> None:
        clients = _take(self._asks, step)
        if not len(clients):
            return
        self._ticket[clients] = np.arange(self._tickets, self._tickets + len(clients))
        self._tickets += len(clients)
        replicas = self._chance.integers(0, self._scene.replicas, len(clients))
        self._choices[clients] = self._chooser.choose(replicas, self._ticket[clients], now)
        self._turn[clients] = 0
        has_place = self._choices[clients, 0] >= 0
        self._come_again(clients[~has_place], now)
        here = clients[has_place & ~self._is_absent[clients]]
        self._travel(here, now)

    def _travel(self, clients: Ints, now: float) -> None:
        delays = NEAR_S + self._chance.exponential(FAR_S, len(clients))
        self._put(self._arrivals, clients, now + delays)

    def _come_again(self, clients: Ints, now: float) -> None:
        """Back to discovery, after a while."""
        bounds = np.minimum(BACKOFF_FIRST_S * 2.0 ** np.minimum(self._failures[clients], 30), BACKOFF_LONGEST_S)
        self._failures[clients] += 1
        self._put(self._asks, clients, now + STEP_S + bounds * self._chance.random(len(clients)))

    def _arrive(self, step: int, now: float) -> None:
        """Get in line, where there is room and the line is short enough."""
        clients = _take(self._arrivals, step)
        if not len(clients):
            return
        where = self._choices[clients, self._turn[clients]]
        order = np.argsort(where, kind="stable")
        clients, where = clients[order], where[order]
        counts = np.bincount(where, minlength=self._scene.gateways)
        place = np.arange(len(clients)) - (np.cumsum(counts) - counts)[where]
        start = np.maximum(self._free_at, now)
        at = start[where] + place * self._accept_s[where]
        room = self.capacity - self.load - self._line
        gets_in = (place < room[where]) & (at - now <= PATIENCE_S)
        taken = np.bincount(where[gets_in], minlength=self._scene.gateways)
        self._free_at = np.where(taken > 0, start + taken * self._accept_s, self._free_at)
        self._line += taken
        self._accept_later(clients[gets_in], where[gets_in], at[gets_in])
        self._turn_away(clients[~gets_in], now)

    def _accept_later(self, clients: Ints, where: Ints, at: Floats) -> None:
        steps = np.ceil(at / STEP_S).astype(np.int64)
        for step in np.unique(steps):
            those = steps == step
            self._accepts.setdefault(int(step), []).append((clients[those], where[those]))

    def _turn_away(self, clients: Ints, now: float) -> None:
        self.refusals += len(clients)
        self._turn[clients] += 1
        has_other = self._turn[clients] < CHOICES
        others = clients[has_other]
        has_other[has_other] = self._choices[others, self._turn[others]] >= 0
        self._travel(clients[has_other], now)
        self._come_again(clients[~has_other], now)

    def _accept(self, step: int) -> int:
        count = 0
        for clients, where in self._accepts.pop(step, []):
            self.load += np.bincount(where, minlength=self._scene.gateways)
            self._line -= np.bincount(where, minlength=self._scene.gateways)
            for gateway in np.unique(where):
                self._redeemed[gateway].append(self._ticket[clients[where == gateway]])
            count += len(clients)
        return count

    def _put(self, when: dict[int, list[Ints]], clients: Ints, at: Floats) -> None:
        """Remember each client for its step, never one that is over."""
        if not len(clients):
            return
        steps = np.ceil(at / STEP_S).astype(np.int64)
        order = np.argsort(steps, kind="stable")
        ordered, found = steps[order], clients[order]
        names, starts = np.unique(ordered, return_index=True)
        for name, part in zip(names, np.split(found, starts[1:]), strict=True):
            when.setdefault(int(name), []).append(part)


def _take(when: dict[int, list[Ints]], step: int) -> Ints:
    parts = when.pop(step, None)
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
