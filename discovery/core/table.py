"""Who is alive and who has room: discovery's whole memory, pure. Time (monotonic seconds) and chance come in.

How a gateway is chosen. Each beat reports the connections a gateway holds; until the next one that figure is stale, and
a crowd that trusts it runs to one door. So every ticket handed out counts as a connection from the moment it is given
until a gateway reports it redeemed (the same beat already counts the connection) or it expires. The choice is the least
(reported + reserved) / capacity; ties are broken by a number the caller draws. Where there are several replicas, each
ticket also stands for those that the others hand out (`roost.discovery.core.replica_share`).

A gateway that joins a cluster is the emptiest for a while and would get every newcomer at once. While it is
younger than `RAMP_S` it may have only a growing share of its capacity promised at a time; over it, others
with room go first. Gateways that come up together, with the cluster or after discovery's own restart, do not ramp.

A gateway whose loop is late beat after beat gives way, too, until it has caught up. Memory counts by the capacity that
a gateway reports: no more than it has memory for. A client may prefer gateways with certain labels, as those of its
zone; where none of these has room, or all of them give way, it is sent to others.

Who is left out: gateways that are full or drain, and whatever has missed `MISSED_BEATS` beats, which is
forgotten. One start of a component is an incarnation; one that beats from an address takes the place of the
incarnation before it there, whose late beats then change nothing. Nor does a beat that is repeated or out of order.

A replica younger than a ticket's life does not know the tickets that its own earlier life handed out. Until then it
takes each redeemed ticket it does not know as the sign of another one on its way to the same gateway (P31). That is
a guess: it moves choices, but never makes a gateway full.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence, Set
from itertools import accumulate
from math import inf
from operator import attrgetter

from roost.discovery.core.component import (
    ELSEWHERE,
    RAMP_S,
)
from roost.discovery.core.component import Component as Component  # part of what a table is asked for
from roost.discovery.core.replica_share import ReplicaShare
from roost.wire.messages.registry import Beat, ComponentKind

INTERVAL_S = 1.0
"""Between beats."""

MISSED_BEATS = 3
"""So many missed in a row exclude (P31)."""

TICKET_S = 30
"""A ticket's life: a client connects at once or asks again."""

ECHO_STEP = 0.05
"""A change of the echo that is smaller than this changes no ranks."""

MAX_COMPONENTS = 10_000
"""Beyond any real cluster: a bound on what beats can make discovery keep."""

REMEMBERED_LIVES = 8
"""Earlier incarnations at one address whose late beats are known to be late."""

RAMP_STEP_S = 0.1
"""So often newcomers are looked at between their beats."""

_LOTS = 4096.0
"""The first choice uses so much of a draw; what is behind it decides on the alternates."""

_WINDOW = 32
"""Of more gateways, alternates are drawn among so many neighbours in rank: enough to spread a crowd, and quick."""

_ALMOST_1 = 1.0 - 2.0**-53

_rank: Callable[[Component], float] = attrgetter("rank")
_room: Callable[[Component], int] = attrgetter("room")


class Table:
    """The registry of one replica; every method decides at once (I7). `born` is when the replica started."""

    def __init__(self, born: float, interval_s: float = INTERVAL_S, ticket_s: float = TICKET_S) -> None:
        self.interval_s = interval_s
        self.ticket_s = ticket_s
        self._blind_until = born + ticket_s
        self._components: dict[str, Component] = {}
        self._holders: dict[tuple[ComponentKind, str], str] = {}
        self._gateways: list[Component] = []
        self._reservations: dict[bytes, tuple[Component, str]] = {}
        """By serial: where the ticket leads, and the place that asked for it."""
        self._unused: dict[str, int] = {}
        self._reserved_until: deque[tuple[float, bytes]] = deque()
        self._guessed_until: deque[tuple[float, Component]] = deque()
        self._next_check = inf
        self._newcomers: list[Component] = []
        self._next_ramp = inf
        self._share = ReplicaShare(born)
        self._echo = 1.0

    def beat(self, beat: Beat, now: float) -> bool:
        """Take a beat; whether it counts. Old, repeated and superseded ones change nothing, nor does one too many."""
        self.expire(now)
        known = self._components.get(beat.incarnation)
        if known is not None and beat.sequence <= known.beat.sequence:
            return False
        if known is not None and _place(beat) != _place(known.beat):
            self._forget(known)
            known = None
        if known is None:
            known = self._register(beat, now)
            if known is None:
                return False
        known.hear(beat, now)
        known.ramp(now)
        own = sum([self._redeem(serial, known, now) for serial in beat.redeemed])
        if beat.kind is ComponentKind.GATEWAY:
            self._hear_share(own, beat, now)
        known.weigh(self._echo)
        return True

    def choose(
        self, now: float, draw: float, count: int = 1, wanted: Set[tuple[str, str]] = frozenset()
    ) -> list[Component]:
        """The gateway with most room, and up to `count` - 1 that come next; empty when nobody has room.

        `draw` in [0, 1) picks among equals. Gateways that have all the labels `wanted` go before others.
        """
        self.expire(now)
        rank = _rank_for(wanted)
        order = self._gateways
        order.sort(key=rank)
        best = rank(order[0]) if order else inf
        ties = 0
        while ties < len(order) and rank(order[ties]) == best < inf:
            ties += 1
        turn = int(draw * ties)
        return (order[turn:ties] + order[:turn] + [g for g in order[ties : ties + count] if g.rank < inf])[:count]

    def choose_with_alternates(
        self, now: float, draw: float, alternates: int, wanted: Set[tuple[str, str]] = frozenset()
    ) -> list[Component]:
        """What `choose` gives for one client, and up to so many others for the case that it cannot be reached.

        When a gateway has died and is not forgotten yet, all that are sent there go to an alternate, on which nothing
        was reserved for them. The next best would get the whole crowd. So alternates are drawn by lot, each as likely
        as it has room; those that `choose` would put off to the end only where there are no others.
        """
        chosen = self.choose(now, draw, 1, wanted)
        if not chosen:
            return []
        rank, order, low = _rank_for(wanted), self._gateways, 0
        chance = draw * _LOTS % 1.0
        while len(chosen) <= alternates and low < len(order) and order[low].rank < inf:
            high = bisect_left(order, (rank(order[low]) // ELSEWHERE + 1) * ELSEWHERE, low, key=rank)
            lot = chance * max(high - low - _WINDOW + 1, 1)
            start, chance = low + int(lot), lot % 1.0
            equals = [gateway for gateway in order[start : min(start + _WINDOW, high)] if gateway is not chosen[0]]
            while equals and len(chosen) <= alternates:
                index, chance = _draw_by_room(equals, chance)
                chosen.append(equals.pop(index))
            low = high
        return chosen

    def reserve(self, serial: bytes, gateway: Component, now: float, place: str = "") -> None:
        """A ticket was handed out: it counts as a connection until redeemed or expired. Each serial once.

        `place` is where its client asked from, if that is counted.
        """
        assert serial not in self._reservations
        self._reservations[serial] = gateway, place
        if place:
            self._unused[place] = self._unused.get(place, 0) + 1
        self._reserved_until.append((now + self.ticket_s, serial))
        gateway.reserved += 1
        gateway.weigh(self._echo)

    def unused(self, place: str) -> int:
        """Tickets asked for from there that are neither redeemed nor expired."""
        return self._unused.get(place, 0)

    def expire(self, now: float) -> None:
        """Forget tickets past their life and components that missed their beats."""
        while self._reserved_until and self._reserved_until[0][0] <= now:
            self._release(self._reserved_until.popleft()[1])
        while self._guessed_until and self._guessed_until[0][0] <= now:
            guess = self._guessed_until.popleft()[1]
            guess.guessed -= 1
            guess.weigh(self._echo)
        if now >= self._next_ramp:
            self._ramp(now)
        if now >= self._next_check:
            patience_s = MISSED_BEATS * self.interval_s
            for component in [c for c in self._components.values() if c.heard + patience_s <= now]:
                self._forget(component)
            self._next_check = min((c.heard for c in self._components.values()), default=inf) + patience_s

    def components(self) -> list[Component]:
        """Everybody alive, in the order of registration."""
        return list(self._components.values())

    def gateways(self) -> list[Component]:
        """Every live gateway."""
        return list(self._gateways)

    def names(self, kind: ComponentKind) -> list[str]:
        """The incarnations of this kind that live and do not drain; sorted."""
        beats = (component.beat for component in self._components.values())
        return sorted(beat.incarnation for beat in beats if beat.kind is kind and not beat.draining)

    def find(self, incarnation: str) -> Component | None:
        """The live component of this name."""
        return self._components.get(incarnation)

    def addresses(self, kind: ComponentKind) -> list[str]:
        """Where live components of this kind that do not drain are found; sorted."""
        holders = ((address, self._components[name]) for (k, address), name in self._holders.items() if k is kind)
        return sorted(address for address, component in holders if not component.beat.draining)

    def _register(self, beat: Beat, now: float) -> Component | None:
        """A new incarnation, in the place of the one before it at its address; None when it is itself superseded."""
        holder = self._components.get(self._holders.get(_place(beat), ""))
        if holder is not None and beat.incarnation in holder.earlier:
            return None
        if holder is not None:
            self._forget(holder)
        elif len(self._components) >= MAX_COMPONENTS:
            return None
        new = Component(beat, since=now, heard=now)
        if holder is not None:
            new.earlier = (*holder.earlier, holder.beat.incarnation)[-REMEMBERED_LIVES:]
        if beat.kind is ComponentKind.GATEWAY:
            new.is_newcomer = any(other.since + RAMP_S <= now for other in self._gateways)
            self._gateways.append(new)
            if new.is_newcomer:
                self._newcomers.append(new)
                self._next_ramp = now
        if beat.address:
            self._holders[_place(beat)] = beat.incarnation
        self._components[beat.incarnation] = new
        self._next_check = min(self._next_check, now + MISSED_BEATS * self.interval_s)
        return new

    def _forget(self, component: Component) -> None:
        beat = component.beat
        del self._components[beat.incarnation]
        if self._holders.get(_place(beat)) == beat.incarnation:
            del self._holders[_place(beat)]
        if beat.kind is ComponentKind.GATEWAY:
            self._gateways.remove(component)

    def _ramp(self, now: float) -> None:
        for newcomer in self._newcomers:
            newcomer.ramp(now)
            newcomer.weigh(self._echo)
        self._newcomers = [newcomer for newcomer in self._newcomers if newcomer.is_newcomer]
        self._next_ramp = now + RAMP_STEP_S if self._newcomers else inf

    def _hear_share(self, own: int, beat: Beat, now: float) -> None:
        """Learn from a gateway's beat which part of all tickets is ours; not while some may be our earlier life's."""
        if now >= self._blind_until:
            self._share.hear(own, len(beat.redeemed), now)
        echo = self._share.multiplier(beat.replicas)
        if abs(echo - self._echo) > self._echo * ECHO_STEP:
            self._echo = echo
            for gateway in self._gateways:
                gateway.weigh(echo)

    def _redeem(self, serial: bytes, gateway: Component, now: float) -> bool:
        """The client came: to the gateway that was meant or to an alternate, whose ticket has the same serial.

        Whether it was a ticket of ours.
        """
        is_own = self._release(serial)
        if not is_own and now < self._blind_until:
            gateway.guessed += 1
            self._guessed_until.append((now + self.ticket_s, gateway))
        return is_own

    def _release(self, serial: bytes) -> bool:
        found = self._reservations.pop(serial, None)
        if found is None:
            return False
        gateway, place = found
        if place and self._unused[place] > 1:
            self._unused[place] -= 1
        elif place:
            del self._unused[place]
        gateway.reserved -= 1
        gateway.weigh(self._echo)
        return True


def _rank_for(wanted: Set[tuple[str, str]]) -> Callable[[Component], float]:
    """The rank of a gateway for a client that prefers those with these labels."""
    if not wanted:
        return _rank

    def rank(gateway: Component) -> float:
        return gateway.rank if wanted <= gateway.labels else gateway.rank + ELSEWHERE

    return rank


def _draw_by_room(gateways: Sequence[Component], chance: float) -> tuple[int, float]:
    """The index of one of these, each as likely as it has room, and what is left of `chance` for another draw."""
    sums = list(accumulate(map(_room, gateways)))
    point = chance * sums[-1]
    index = min(bisect_right(sums, point), len(sums) - 1)
    room = gateways[index].room
    return index, min(max((point - sums[index] + room) / room, 0.0), _ALMOST_1)


def _place(beat: Beat) -> tuple[ComponentKind, str]:
    return beat.kind, beat.address
