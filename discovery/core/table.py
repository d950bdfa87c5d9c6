"""The registry of live components and the choice of a gateway: the whole state of one replica. Pure.

Times (monotonic seconds) and random numbers are passed in.

How a gateway is chosen. Each heartbeat reports how many connections a gateway has. Until the next one that figure is
out of date, and if it alone decided, many clients would be sent to the same gateway. So every issued ticket counts as a
connection until a gateway reports it as redeemed (that heartbeat already counts the connection) or it expires. The
gateway with the least (reported + reserved) / capacity is chosen; a random number decides between equal ones. With
several replicas, each ticket also stands for those that the others issue (`roost.discovery.core.replica_share`).

A gateway that joins a running cluster is the emptiest for a while and would get all new clients at once. While it is
younger than `RAMP_S`, only a growing share of its capacity may be reserved; above that, other gateways with free
capacity go first. Gateways that start together, with the cluster or after discovery's own restart, have no such ramp.

A gateway whose event loop lags in heartbeat after heartbeat is also chosen after the others, until it has caught up.
Memory is covered by the capacity: a gateway reports no more than it has memory for. A client may prefer gateways with
certain labels, such as those of its zone; where none of these has free capacity, or all are overloaded, it is sent to
others.

Gateways that are full or draining are not chosen. A component that has missed `MISSED_BEATS` heartbeats is forgotten.
Each start of a component has an instance id, its incarnation. A new incarnation at an address replaces the previous one
there, whose late heartbeats are then ignored, like heartbeats that are repeated or out of order.

A replica that has run for less than the lifetime of a ticket does not know the tickets issued before its restart. Until
then it takes each unknown redeemed ticket as a sign that another client is on its way to the same gateway. That is an
estimate: it influences choices, but never makes a gateway count as full.

`docs/protocol/guarantees.md` defines the rules that are cited by number, such as P31.
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
"""Time between heartbeats."""

MISSED_BEATS = 3
"""A component that misses this many heartbeats in a row is forgotten (P31)."""

TICKET_S = 30
"""Lifetime of a ticket: a client connects at once or asks again."""

MULTIPLIER_STEP = 0.05
"""Ranks are updated only when the multiplier changes by more than this fraction."""

MAX_COMPONENTS = 10_000
"""More than any real cluster has: a bound on the memory that heartbeats can make discovery use."""

REMEMBERED_LIVES = 8
"""Earlier incarnations at one address that are remembered, so that their late heartbeats are ignored."""

RAMP_STEP_S = 0.1
"""How often the limits of newcomers are updated between their heartbeats."""

_LOTS = 4096.0
"""The first choice uses a random number in steps of one 4096th; the remainder decides on the alternates."""

_WINDOW = 32
"""Alternates are drawn among at most this many neighbours in rank: enough to spread many clients, and fast."""

_ALMOST_1 = 1.0 - 2.0**-53

_rank: Callable[[Component], float] = attrgetter("rank")
_room: Callable[[Component], int] = attrgetter("room")


class Table:
    """The registry of one replica; no method waits (I7). `born` is when the replica started."""

    def __init__(self, born: float, interval_s: float = INTERVAL_S, ticket_s: float = TICKET_S) -> None:
        self.interval_s = interval_s
        self.ticket_s = ticket_s
        self._blind_until = born + ticket_s
        self._components: dict[str, Component] = {}
        self._holders: dict[tuple[ComponentKind, str], str] = {}
        self._gateways: list[Component] = []
        self._reservations: dict[bytes, tuple[Component, str]] = {}
        """By serial: the gateway of the ticket, and the address key of the client that asked for it."""
        self._unused: dict[str, int] = {}
        self._reserved_until: deque[tuple[float, bytes]] = deque()
        self._guessed_until: deque[tuple[float, Component]] = deque()
        self._next_check = inf
        self._newcomers: list[Component] = []
        self._next_ramp = inf
        self._share = ReplicaShare(born)
        self._multiplier = 1.0

    def beat(self, beat: Beat, now: float) -> bool:
        """Process a heartbeat; returns whether it was accepted.

        Late and repeated heartbeats, those of a replaced incarnation, and new components beyond `MAX_COMPONENTS` are
        ignored.
        """
        self.expire(now)
        known = self._components.get(beat.incarnation)
        if known is not None and beat.sequence <= known.beat.sequence:
            return False
        if known is not None and _kind_and_address(beat) != _kind_and_address(known.beat):
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
        known.weigh(self._multiplier)
        return True

    def choose(
        self, now: float, draw: float, count: int = 1, wanted: Set[tuple[str, str]] = frozenset()
    ) -> list[Component]:
        """The best gateway and up to `count` - 1 that come next; empty when none has free capacity.

        `draw`, a random number in [0, 1), decides between equals. Gateways with all the labels `wanted` come first.
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
        """The gateway that `choose` returns for one client, and up to `alternates` others in case it cannot be reached.

        When a gateway has died and is not forgotten yet, all clients that are sent there go to an alternate, on which
        nothing was reserved for them. If the alternate were always the next best gateway, it would get all of them. So
        alternates are drawn at random, with probabilities proportional to their free capacity; gateways that `choose`
        would put last are used only where there are no others.
        """
        chosen = self.choose(now, draw, 1, wanted)
        if not chosen:
            return []
        rank, order, low = _rank_for(wanted), self._gateways, 0
        fraction = draw * _LOTS % 1.0
        while len(chosen) <= alternates and low < len(order) and order[low].rank < inf:
            high = bisect_left(order, (rank(order[low]) // ELSEWHERE + 1) * ELSEWHERE, low, key=rank)
            lot = fraction * max(high - low - _WINDOW + 1, 1)
            start, fraction = low + int(lot), lot % 1.0
            equals = [gateway for gateway in order[start : min(start + _WINDOW, high)] if gateway is not chosen[0]]
            while equals and len(chosen) <= alternates:
                index, fraction = _draw_by_room(equals, fraction)
                chosen.append(equals.pop(index))
            low = high
        return chosen

    def reserve(self, serial: bytes, gateway: Component, now: float, site: str = "") -> None:
        """Count an issued ticket as a connection until it is redeemed or expires. Call it once for each serial.

        `site` is the address key of the client that asked, empty if its tickets are not counted.
        """
        assert serial not in self._reservations
        self._reservations[serial] = gateway, site
        if site:
            self._unused[site] = self._unused.get(site, 0) + 1
        self._reserved_until.append((now + self.ticket_s, serial))
        gateway.reserved += 1
        gateway.weigh(self._multiplier)

    def unused(self, site: str) -> int:
        """How many tickets of this address key are neither redeemed nor expired."""
        return self._unused.get(site, 0)

    def expire(self, now: float) -> None:
        """Forget expired tickets, and components that missed their heartbeats."""
        while self._reserved_until and self._reserved_until[0][0] <= now:
            self._release(self._reserved_until.popleft()[1])
        while self._guessed_until and self._guessed_until[0][0] <= now:
            guess = self._guessed_until.popleft()[1]
            guess.guessed -= 1
            guess.weigh(self._multiplier)
        if now >= self._next_ramp:
            self._ramp(now)
        if now >= self._next_check:
            timeout_s = MISSED_BEATS * self.interval_s
            for component in [c for c in self._components.values() if c.heard + timeout_s <= now]:
                self._forget(component)
            self._next_check = min((c.heard for c in self._components.values()), default=inf) + timeout_s

    def components(self) -> list[Component]:
        """All live components, in the order of registration."""
        return list(self._components.values())

    def gateways(self) -> list[Component]:
        """All live gateways."""
        return list(self._gateways)

    def names(self, kind: ComponentKind) -> list[str]:
        """Incarnations of live components of this kind that are not draining; sorted."""
        beats = (component.beat for component in self._components.values())
        return sorted(beat.incarnation for beat in beats if beat.kind is kind and not beat.draining)

    def find(self, incarnation: str) -> Component | None:
        """The live component with this incarnation, or None."""
        return self._components.get(incarnation)

    def addresses(self, kind: ComponentKind) -> list[str]:
        """Addresses of live components of this kind that are not draining; sorted."""
        holders = ((address, self._components[name]) for (k, address), name in self._holders.items() if k is kind)
        return sorted(address for address, component in holders if not component.beat.draining)

    def _register(self, beat: Beat, now: float) -> Component | None:
        """Add a new incarnation, which replaces the previous one at its address.

        Returns None when it was itself replaced before, or when there are too many components.
        """
        holder = self._components.get(self._holders.get(_kind_and_address(beat), ""))
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
            self._holders[_kind_and_address(beat)] = beat.incarnation
        self._components[beat.incarnation] = new
        self._next_check = min(self._next_check, now + MISSED_BEATS * self.interval_s)
        return new

    def _forget(self, component: Component) -> None:
        beat = component.beat
        del self._components[beat.incarnation]
        if self._holders.get(_kind_and_address(beat)) == beat.incarnation:
            del self._holders[_kind_and_address(beat)]
        if beat.kind is ComponentKind.GATEWAY:
            self._gateways.remove(component)

    def _ramp(self, now: float) -> None:
        for newcomer in self._newcomers:
            newcomer.ramp(now)
            newcomer.weigh(self._multiplier)
        self._newcomers = [newcomer for newcomer in self._newcomers if newcomer.is_newcomer]
        self._next_ramp = now + RAMP_STEP_S if self._newcomers else inf

    def _hear_share(self, own: int, beat: Beat, now: float) -> None:
        """Learn our share of all tickets from a heartbeat; not while tickets from before a restart may be valid."""
        if now >= self._blind_until:
            self._share.hear(own, len(beat.redeemed), now)
        multiplier = self._share.multiplier(beat.replicas)
        if abs(multiplier - self._multiplier) > self._multiplier * MULTIPLIER_STEP:
            self._multiplier = multiplier
            for gateway in self._gateways:
                gateway.weigh(multiplier)

    def _redeem(self, serial: bytes, gateway: Component, now: float) -> bool:
        """Note a redeemed ticket; returns whether this replica issued it.

        The client may have connected to an alternate, whose ticket has the same serial.
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
        gateway, site = found
        if site and self._unused[site] > 1:
            self._unused[site] -= 1
        elif site:
            del self._unused[site]
        gateway.reserved -= 1
        gateway.weigh(self._multiplier)
        return True


def _rank_for(wanted: Set[tuple[str, str]]) -> Callable[[Component], float]:
    """The rank function for a client that prefers gateways with these labels."""
    if not wanted:
        return _rank

    def rank(gateway: Component) -> float:
        return gateway.rank if wanted <= gateway.labels else gateway.rank + ELSEWHERE

    return rank


def _draw_by_room(gateways: Sequence[Component], fraction: float) -> tuple[int, float]:
    """The index of a gateway, drawn in proportion to free capacity, and the rest of `fraction` for another draw."""
    sums = list(accumulate(map(_room, gateways)))
    point = fraction * sums[-1]
    index = min(bisect_right(sums, point), len(sums) - 1)
    room = gateways[index].room
    return index, min(max((point - sums[index] + room) / room, 0.0), _ALMOST_1)


def _kind_and_address(beat: Beat) -> tuple[ComponentKind, str]:
    return beat.kind, beat.address
