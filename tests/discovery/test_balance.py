"""Who gives how many clients away: never twice, never back and forth, and only when the cluster is at rest."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.discovery.core.balance import (
    RECEIVED_PER_S,
    SETTLE_S,
    START_COUNT,
    START_SHARE,
    STOP_COUNT,
    STOP_SHARE,
    Balance,
    in_time,
    rooms,
)
from roost.discovery.core.component import Component
from roost.discovery.core.table import Table
from tests.discovery.beats import make_beat

NONE: frozenset[tuple[str, str]] = frozenset()
LATER = 1000.0


def table_of(*loads: int, at: float = 0.0, capacity: int = 10_000, **more: object) -> Table:
    """Gateways g0, g1, … that have been known since `at`."""
    table = Table(-LATER, interval_s=LATER)
    for number, load in enumerate(loads):
        table.beat(make_beat(f"g{number}", 1, load, capacity, **more), at)
    return table


def surpluses(table: Table, balance: Balance, now: float = LATER) -> list[int]:
    """What each is told at its second beat."""
    for _ in range(2):
        told = [balance.surplus(gateway, table.gateways(), now)[0] for gateway in table.gateways()]
    return told


def test_a_newcomer_gets_its_share_from_those_above_it() -> None:
    table = table_of(5000, 5000, 0)
    assert surpluses(table, Balance()) == [1666, 1666, 0]
    assert {g.beat.incarnation: room for g, room in rooms(NONE, table.gateways()).items()} == {"g2": 3333}


def test_a_share_is_by_capacity() -> None:
    table = Table(-LATER)
    for name, load, capacity in (("small", 500, 1000), ("big", 0, 4000)):
        table.beat(make_beat(name, 1, load, capacity), 0.0)
    assert surpluses(table, Balance()) == [400, 0]


@pytest.mark.parametrize("loads", [(1000, 1000, 1000), (1050, 1000, 950), (9, 0, 0), (0, 0, 0), (5000,), ()])
def test_what_is_even_enough_or_small_is_left_alone(loads: tuple[int, ...]) -> None:
    assert surpluses(table_of(*loads), Balance()) == [0] * len(loads)


def test_nothing_begins_while_somebody_has_just_come() -> None:
    table, balance = table_of(5000, 5000), Balance()
    table.beat(make_beat("new", 1, 0, 10_000), 100.0)
    assert surpluses(table, balance, 100.0 + SETTLE_S - 0.1) == [0, 0, 0]
    assert surpluses(table, balance, 100.0 + SETTLE_S) == [1666, 1666, 0]


def test_nothing_goes_on_while_somebody_sends_its_clients_away() -> None:
    table, balance = table_of(5000, 5000, 0), Balance()
    assert surpluses(table, balance)[0] > 0
    table.beat(make_beat("g1", 2, 5000, 10_000, draining=True), 1.0)
    assert surpluses(table, balance) == [0, 0, 0]
    table.beat(make_beat("g1", 3, 0, 10_000, draining=True), 2.0)
    assert surpluses(table, balance) == [2500, 0, 0]


def test_once_begun_it_goes_on_until_all_are_close_and_then_waits_for_the_next_large_difference() -> None:
    table, balance = table_of(2000, 1000), Balance()
    assert surpluses(table, balance) == [500, 0]
    far = 1500 + int(1500 * START_SHARE) + 1
    steps = ((1550, 50), (1520, 20), (1510, 0), (1550, 0), (far, far - 1500))
    for sequence, (load, expected) in enumerate(steps, 2):
        table.beat(make_beat("g0", sequence, load, 10_000), 1.0)
        table.beat(make_beat("g1", sequence, 3000 - load, 10_000), 1.0)
        assert surpluses(table, balance)[0] == expected, load


def test_an_operator_may_ask_for_it_at_once_and_for_little() -> None:
    table, balance = table_of(1040, 960), Balance()
    assert surpluses(table, balance, 1.0) == [0, 0]
    assert balance.ask(table.gateways()) == 40
    assert surpluses(table, balance, 1.0) == [40, 0]
    assert Balance().ask(table_of(1000, 1001).gateways()) == 0


def test_who_has_been_told_to_go_and_who_is_on_the_way_counts_where_it_will_be() -> None:
    table = table_of(2000, 0)
    table.beat(make_beat("g0", 2, 2000, 10_000, moving=600), 1.0)
    for number in range(600):
        table.reserve(number.to_bytes(4, "big"), table.gateways()[1], 1.0)
    assert surpluses(table, Balance(), 1.0 + SETTLE_S) == [400, 0]


def test_gateways_for_different_clients_are_not_balanced_with_each_other() -> None:
    table, balance = Table(-LATER), Balance()
    for name, load, zone in (("a1", 3000, "a"), ("a2", 1000, "a"), ("b1", 0, "b")):
        table.beat(make_beat(name, 1, load, 10_000, labels={"zone": zone}), 0.0)
    assert surpluses(table, balance) == [1000, 0, 0]
    zone_a = frozenset({("zone", "a")})
    assert [g.beat.incarnation for g in rooms(zone_a, table.gateways())] == ["a2"]


def test_a_surplus_counts_when_it_is_seen_twice() -> None:
    table, balance = table_of(0, 2000), Balance()
    source = table.gateways()[1]
    assert balance.surplus(source, table.gateways(), LATER) == (0, 0.0)
    assert balance.surplus(source, table.gateways(), LATER)[0] == 1000
    table.beat(make_beat("g0", 2, 2000, 10_000), 1.0)
    assert balance.surplus(source, table.gateways(), LATER) == (0, 0.0)


def test_the_pace_is_bounded_by_what_a_receiver_is_sent_however_many_give() -> None:
    table, balance = table_of(*[5000] * 9, 0), Balance()
    surpluses(table, balance)
    paces = [balance.surplus(gateway, table.gateways(), LATER)[1] for gateway in table.gateways()]
    assert sum(paces) == pytest.approx(RECEIVED_PER_S)
    assert [in_time(count, per_s, 1.0) for count, per_s in ((500, 22.2), (5, 22.2), (0, 0.0))] == [23, 5, 0]


# A cluster in small: gateways beat at different moments to replicas that share nothing.


@dataclass
class Gateway:
    load: int
    sequence: int = 0
    told: list[tuple[int, bytes]] = field(default_factory=list)
    """For each client that is about to go: where to, and its ticket."""


@dataclass
class Replica:
    table: Table = field(default_factory=lambda: Table(-LATER))
    balance: Balance = field(default_factory=Balance)
    serial: int = 0

    def find(self, name: str) -> Component:
        found = self.table.find(name)
        assert found is not None
        return found


class Cluster:
    """Seconds of it: each gateway beats to every replica, follows one of them, and reserves there."""

    def __init__(self, loads: list[int], replicas: int, chance: random.Random) -> None:
        self.gateways = [Gateway(load) for load in loads]
        self.replicas = [Replica() for _ in range(replicas)]
        self.redeemed: list[list[bytes]] = [[] for _ in loads]
        self.chance = chance
        self.order = list(range(len(loads)))
        chance.shuffle(self.order)
        self.moves = self.leader = 0

    def second(self, now: float) -> None:
        for turn, number in enumerate(self.order):
            self.beat(number, now + turn / len(self.order))

    def beat(self, number: int, now: float) -> None:
        gateway, name = self.gateways[number], f"g{number}"
        gateway.sequence += 1
        redeemed, self.redeemed[number] = self.redeemed[number], []
        beat = make_beat(
            name, gateway.sequence, gateway.load, 10_000, moving=len(gateway.told), redeemed=redeemed,
            replicas=len(self.replicas),
        )  # fmt: skip
        leader = self.replicas[self.leader]
        for replica in self.replicas:
            replica.table.beat(beat, now)
            told = replica.balance.surplus(replica.find(name), replica.table.gateways(), now)
            if replica is leader:
                count, per_s = told
        self.arrive(gateway)
        room = rooms(NONE, leader.table.gateways())
        for _ in range(in_time(count, per_s, 1.0)):
            best = [g for g in leader.table.choose(now, self.chance.random(), 99) if room.get(g, 0) > 0]
            if not best:
                break
            room[best[0]] -= 1
            leader.serial += 1
            serial = bytes([self.leader]) + leader.serial.to_bytes(8, "big")
            leader.table.reserve(serial, best[0], now)
            leader.find(name).leaving += 1
            target = int(best[0].beat.incarnation[1:])
            gateway.told.append((target, serial))

    def arrive(self, gateway: Gateway) -> None:
        """Those that were told a second ago are where they were sent."""
        for target, serial in gateway.told:
            self.gateways[target].load += 1
            self.redeemed[target].append(serial)
            gateway.load -= 1
            self.moves += 1
        gateway.told = []


LOADS = st.lists(st.integers(0, 1500), min_size=2, max_size=5)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(loads=LOADS, replicas=st.integers(1, 3), seed=st.integers(0, 1 << 30))
def test_whatever_the_loads_it_comes_to_rest_even_and_moves_nobody_twice(
    loads: list[int], replicas: int, seed: int
) -> None:
    cluster = Cluster(loads, replicas, random.Random(seed))
    come_to_rest(cluster, loads)
    mean = sum(loads) / len(loads)
    needed = sum(load - mean for load in loads if load > mean)
    assert cluster.moves <= needed + 2, "one move for each client that has to move"


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(loads=LOADS, seed=st.integers(0, 1 << 30), died_at=st.integers(15, 40))
def test_when_the_replica_that_decides_dies_another_one_ends_it(loads: list[int], seed: int, died_at: int) -> None:
    come_to_rest(Cluster(loads, 2, random.Random(seed)), loads, died_at)


def come_to_rest(cluster: Cluster, loads: list[int], died_at: int = 0) -> None:
    """A minute later all have their share, and nothing moves any more. `died_at`: then the other replica decides."""
    for now in range(60):
        cluster.leader = int(0 < died_at <= now)
        cluster.second(now)
    at_rest = cluster.moves
    for now in range(60, 70):
        cluster.second(now)
    assert cluster.moves == at_rest, "it does not swing"
    assert sum(gateway.load for gateway in cluster.gateways) == sum(loads)
    mean = sum(loads) / len(loads)
    worst = max(abs(gateway.load - mean) for gateway in cluster.gateways)
    if died_at:
        assert worst <= max(START_SHARE * mean, START_COUNT)
    elif cluster.moves:
        assert worst <= max(STOP_SHARE * mean, STOP_COUNT) + len(loads), "shares have fractions, clients have none"
    else:
        assert worst <= max(START_SHARE * mean, START_COUNT)
