from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.discovery.core.component import RAMP_S, STRAINED_LAG_MS
from roost.discovery.core.table import MAX_COMPONENTS, MISSED_BEATS, TICKET_S, Component, Table
from roost.wire.messages.registry import ComponentKind
from tests.discovery.beats import make_beat

LONG_AGO = -1000.0
"""Born so long ago that the table is no longer blind."""


def names(chosen: list[Component]) -> list[str]:
    return [component.beat.incarnation for component in chosen]


def hand_out(table: Table, count: int, now: float, first: int = 0) -> Counter[str]:
    """Choose and reserve as the server does, `count` times; who got how many."""
    given_to: Counter[str] = Counter()
    for number in range(first, first + count):
        chosen = table.choose(now, draw=(number * 0.618) % 1.0)
        if chosen:
            table.reserve(number.to_bytes(8, "big"), chosen[0], now)
            given_to[chosen[0].beat.incarnation] += 1
    return given_to


def test_an_empty_table_has_room_nowhere() -> None:
    assert Table(0.0).choose(5.0, 0.5, 3) == []


def test_the_emptiest_gateway_by_share_of_its_capacity_is_chosen_and_the_next_ones_named() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("small", load=5, capacity=10), 0.0)
    table.beat(make_beat("big", load=30, capacity=100), 0.0)
    table.beat(make_beat("half", load=40, capacity=100), 0.0)
    assert names(table.choose(0.1, 0.0, 3)) == ["big", "half", "small"]


@given(draw=st.floats(0, 1, exclude_max=True), count=st.integers(1, 4))
def test_among_equals_the_draw_decides_and_alternates_are_others(draw: float, count: int) -> None:
    table = Table(LONG_AGO)
    for name in "abc":
        table.beat(make_beat(name), 0.0)
    chosen = names(table.choose(0.1, draw, count))
    assert chosen[0] == "abc"[int(draw * 3)]
    assert len(set(chosen)) == len(chosen) == min(count, 3)


@given(
    gateways=st.integers(1, 12),
    crowd=st.integers(0, 300),
    base=st.integers(0, 50),
    more=st.integers(0, 5),
)
def test_a_crowd_between_two_beats_spreads_within_one_of_even(gateways: int, crowd: int, base: int, more: int) -> None:
    """Whatever the load was (`more` on one of them), all end within one connection of each other."""
    table = Table(LONG_AGO)
    loads = {f"g{number}": base + (more if number == 0 else 0) for number in range(gateways)}
    for name, load in loads.items():
        table.beat(make_beat(name, load=load, capacity=1000), 0.0)
    given_to = hand_out(table, crowd, 0.5)
    totals = [loads[name] + given_to[name] for name in loads]
    assert sum(given_to.values()) == crowd
    if crowd >= more * gateways:
        assert max(totals) - min(totals) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("gateways", [3, 10, 100])
def test_the_crowd_of_a_gateway_that_died_is_spread_over_all_others_as_they_have_room(gateways: int) -> None:
    """`dead` cannot be reached: whoever is sent there knocks at the first alternate. One of the others is smaller."""
    table = Table(LONG_AGO)
    table.beat(make_beat("dead", capacity=100_000), 0.0)
    table.beat(make_beat("small", capacity=50_000), 0.0)
    for number in range(gateways - 2):
        table.beat(make_beat(f"g{number}", capacity=100_000), 0.0)
    knocked: Counter[str] = Counter()
    chance = random.Random(1)
    for number in range(300 * gateways):
        chosen = table.choose_with_alternates(0.5, chance.random(), 2)
        table.reserve(number.to_bytes(8, "big"), chosen[0], 0.5)
        assert len(set(names(chosen))) == 3
        knocked[names(chosen)[names(chosen)[0] == "dead"]] += 1
    each = 300 * gateways / (gateways - 1.5)
    assert knocked["dead"] == 0
    assert knocked["small"] == pytest.approx(each / 2, rel=0.25)
    assert all(count == pytest.approx(each, rel=0.25) for name, count in knocked.items() if name != "small")


def test_alternates_that_would_be_put_off_come_only_where_there_are_no_others() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("near", labels={"zone": "a"}), 0.0)
    table.beat(make_beat("near too", labels={"zone": "a"}, load=90), 0.0)
    table.beat(make_beat("far", labels={"zone": "b"}), 0.0)
    table.beat(make_beat("late", labels={"zone": "a"}, lag_ms=STRAINED_LAG_MS * 4), 0.0)
    table.beat(make_beat("full", load=100), 0.0)
    for draw in (0.0, 0.3, 0.77, 0.999):
        found = names(table.choose_with_alternates(0.1, draw, 9, {("zone", "a")}))
        assert found == ["near", "near too", "far", "late"]


@given(
    draw=st.floats(0, 1, exclude_max=True),
    alternates=st.integers(0, 5),
    loads=st.lists(st.integers(0, 12), max_size=50),
)
def test_alternates_are_others_with_room_as_many_as_there_are(draw: float, alternates: int, loads: list[int]) -> None:
    table = Table(LONG_AGO)
    for number, load in enumerate(loads):
        table.beat(make_beat(f"g{number}", load=load, capacity=10), 0.0)
    chosen = table.choose_with_alternates(0.1, draw, alternates)
    roomy = sum(load < 10 for load in loads)
    assert len(set(names(chosen))) == len(chosen) == min(1 + alternates, roomy)
    assert all(gateway.beat.load < 10 for gateway in chosen)
    if chosen:
        assert chosen[0].beat.load == min(loads)


def test_a_full_gateway_is_not_chosen_and_a_ticket_counts_as_a_connection() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("g1", load=8, capacity=10), 0.0)
    assert hand_out(table, 5, 0.1) == {"g1": 2}
    assert table.choose(0.2, 0.0) == []


@pytest.mark.parametrize("capacity", [0, 1])
def test_a_gateway_without_room_of_its_own_is_never_chosen(capacity: int) -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("g1", load=1, capacity=capacity), 0.0)
    assert table.choose(0.1, 0.0) == []


def test_a_redeemed_ticket_is_counted_once_as_the_connection_the_same_beat_reports() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("g1", 1), 0.0)
    hand_out(table, 3, 0.1)
    table.beat(make_beat("g1", 2, load=2, redeemed=[(0).to_bytes(8, "big"), (1).to_bytes(8, "big")]), 1.0)
    (gateway,) = table.components()
    assert (gateway.beat.load, gateway.reserved) == (2, 1)
    table.beat(make_beat("g1", 3, load=2, redeemed=[(0).to_bytes(8, "big")]), 2.0)
    assert gateway.reserved == 1


def test_a_ticket_redeemed_at_an_alternate_ends_the_reservation_at_the_first_choice() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("g1"), 0.0)
    table.beat(make_beat("g2", load=1), 0.0)
    assert hand_out(table, 1, 0.1) == {"g1": 1}
    table.beat(make_beat("g2", 2, load=2, redeemed=[(0).to_bytes(8, "big")]), 1.0)
    assert [component.reserved for component in table.components()] == [0, 0]


def test_a_ticket_that_nobody_redeems_gives_its_place_back_when_it_expires() -> None:
    table = Table(LONG_AGO, interval_s=100.0)
    table.beat(make_beat("g1", capacity=1), 0.0)
    hand_out(table, 1, 5.0)
    assert table.choose(5.0 + TICKET_S - 0.01, 0.0) == []
    assert names(table.choose(5.0 + TICKET_S, 0.0)) == ["g1"]


def test_p31_three_missed_beats_exclude_and_one_beat_brings_back() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("g1", 1), 0.0)
    assert names(table.choose(MISSED_BEATS - 0.01, 0.0)) == ["g1"]
    assert table.choose(float(MISSED_BEATS), 0.0) == []
    assert table.components() == []
    assert table.beat(make_beat("g1", 2), 10.0)
    assert names(table.choose(10.0, 0.0)) == ["g1"]


def test_a_draining_gateway_stays_known_and_is_not_chosen() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("g1", 1), 0.0)
    table.beat(make_beat("g1", 2, draining=True), 0.5)
    assert table.choose(0.6, 0.0) == []
    assert [component.beat.draining for component in table.components()] == [True]


@given(st.permutations(range(1, 7)))
def test_beats_in_any_order_and_twice_leave_the_newest(order: list[int]) -> None:
    table = Table(LONG_AGO)
    for sequence in order + order:
        table.beat(make_beat("g1", sequence, load=sequence), 0.0)
    (gateway,) = table.components()
    assert gateway.beat.load == 6


def test_an_old_beat_neither_redeems_nor_keeps_alive() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("g1", 5), 0.0)
    hand_out(table, 1, 0.0)
    assert not table.beat(make_beat("g1", 4, redeemed=[(0).to_bytes(8, "big")]), 2.0)
    assert table.components()[0].reserved == 1
    assert table.choose(float(MISSED_BEATS), 0.0) == []


def test_a_new_incarnation_at_the_same_address_replaces_the_old_whose_late_beats_do_nothing() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("old", 7, address="ws://h:1", load=50), 0.0)
    assert table.beat(make_beat("new", 1, address="ws://h:1"), 1.0)
    assert not table.beat(make_beat("old", 8, address="ws://h:1", load=50), 1.1)
    assert names(table.components()) == ["new"]


def test_a_superseded_incarnation_that_outlives_the_new_one_is_known_again() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("old", 7, address="ws://h:1"), 0.0)
    table.beat(make_beat("new", 1, address="ws://h:1"), 1.0)
    assert table.beat(make_beat("old", 8, address="ws://h:1"), 1.0 + MISSED_BEATS)


def test_components_without_an_address_do_not_replace_each_other() -> None:
    table = Table(LONG_AGO)
    for name in ("w1", "w2"):
        table.beat(make_beat(name, kind=ComponentKind.WORKER, address=""), 0.0)
    assert names(table.components()) == ["w1", "w2"]
    assert table.addresses(ComponentKind.WORKER) == []


def test_an_incarnation_that_changes_its_address_is_found_there_only() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("l1", 1, kind=ComponentKind.LOCK, address="http://a"), 0.0)
    table.beat(make_beat("l1", 2, kind=ComponentKind.LOCK, address="http://b"), 1.0)
    assert table.addresses(ComponentKind.LOCK) == ["http://b"]
    assert len(table.components()) == 1


def test_addresses_are_those_of_live_components_of_the_kind_that_do_not_drain() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("l2", kind=ComponentKind.LOCK, address="http://b"), 0.0)
    table.beat(make_beat("l1", kind=ComponentKind.LOCK, address="http://a"), 0.0)
    table.beat(make_beat("l3", kind=ComponentKind.LOCK, address="http://c", draining=True), 0.0)
    table.beat(make_beat("g1"), 0.0)
    assert table.addresses(ComponentKind.LOCK) == ["http://a", "http://b"]
    table.expire(float(MISSED_BEATS))
    assert table.addresses(ComponentKind.LOCK) == []


def test_other_kinds_are_never_chosen_as_a_gateway() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("m1", kind=ComponentKind.MASTER, address=""), 0.0)
    assert table.choose(0.1, 0.0, 3) == []


def test_a_newcomer_gives_way_once_its_share_is_promised_and_takes_all_when_grown_up() -> None:
    table = Table(LONG_AGO, interval_s=100.0)
    table.beat(make_beat("old", load=500, capacity=1000), 0.0)
    table.beat(make_beat("new", capacity=1000), RAMP_S)
    at_once = hand_out(table, 200, RAMP_S)
    assert at_once == {"new": 50, "old": 150}
    table.beat(make_beat("new", 2, load=0, capacity=1000), 2 * RAMP_S)
    assert hand_out(table, 100, 2 * RAMP_S, first=200) == {"new": 100}


def test_a_newcomer_with_the_last_free_place_is_still_chosen() -> None:
    table = Table(LONG_AGO, interval_s=100.0)
    table.beat(make_beat("old", load=10, capacity=10), 0.0)
    table.beat(make_beat("new", capacity=10), RAMP_S)
    assert hand_out(table, 10, RAMP_S) == {"new": 10}


def test_a_newcomer_grows_up_between_its_beats_too() -> None:
    table = Table(LONG_AGO, interval_s=100.0)
    table.beat(make_beat("old", load=500, capacity=1000), 0.0)
    table.beat(make_beat("new", capacity=1000), RAMP_S)
    assert hand_out(table, 100, RAMP_S)["new"] == 50
    assert hand_out(table, 500, 1.5 * RAMP_S, first=100)["new"] > 400


def test_a_gateway_that_is_late_beat_after_beat_gives_way_until_it_has_caught_up() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("calm", 1, load=90), 0.0)
    chosen = []
    for sequence, lag_ms in enumerate([0, 400, 400, 400, 0, 0], start=1):
        table.beat(make_beat("late", sequence, lag_ms=float(lag_ms)), 0.0)
        chosen.append(names(table.choose(0.1, 0.0, 2)))
    assert chosen == [["late", "calm"]] * 2 + [["calm", "late"]] * 2 + [["late", "calm"]] * 2


def test_one_long_hiccup_is_forgotten_after_two_beats() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("calm", load=1), 0.0)
    table.beat(make_beat("late", 1, lag_ms=1e9), 0.0)
    assert names(table.choose(0.1, 0.0)) == ["calm"]
    for sequence in (2, 3):
        table.beat(make_beat("late", sequence), 0.0)
    assert names(table.choose(0.1, 0.0)) == ["late"]


def test_a_late_gateway_with_the_last_free_place_is_still_chosen() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("full", load=100), 0.0)
    table.beat(make_beat("late", lag_ms=STRAINED_LAG_MS * 4), 0.0)
    assert names(table.choose(0.1, 0.0, 3)) == ["late"]


@pytest.mark.parametrize("lag_ms", [float("nan"), -5.0])
def test_a_lag_that_makes_no_sense_counts_nothing(lag_ms: float) -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("odd", lag_ms=lag_ms), 0.0)
    table.beat(make_beat("calm", load=1), 0.0)
    assert names(table.choose(0.1, 0.0)) == ["odd"]


def test_gateways_with_the_wanted_labels_go_first_and_others_where_these_have_no_room() -> None:
    table = Table(LONG_AGO)
    near, fast = ("zone", "a"), ("disk", "fast")
    table.beat(make_beat("here", load=8, capacity=10, labels=dict([near])), 0.0)
    table.beat(make_beat("best", load=9, capacity=10, labels=dict([near, fast])), 0.0)
    table.beat(make_beat("there", capacity=10, labels={"zone": "b"}), 0.0)
    assert names(table.choose(0.1, 0.0, 3, {near})) == ["here", "best", "there"]
    assert names(table.choose(0.1, 0.0, 3, {near, fast})) == ["best", "there", "here"]
    assert names(table.choose(0.1, 0.0, 3)) == ["there", "here", "best"]
    assert names(table.choose(0.1, 0.0, 1, {("zone", "nowhere")})) == ["there"]
    for number in range(3):
        table.reserve(bytes((number,)), table.choose(0.1, 0.0, 1, {near})[0], 0.1)
    assert names(table.choose(0.1, 0.0, 3, {near})) == ["there"]


def test_a_late_gateway_is_not_preferred_for_its_labels() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("late", labels={"zone": "a"}, lag_ms=STRAINED_LAG_MS * 4), 0.0)
    table.beat(make_beat("there", labels={"zone": "b"}), 0.0)
    assert names(table.choose(0.1, 0.0, 2, {("zone", "a")})) == ["there", "late"]


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_replicas_that_share_nothing_fill_a_gap_together_and_not_each(replicas: int) -> None:
    """One of three gateways has 300 connections fewer; 900 askers between two beats, dealt to the replicas."""
    tables = [Table(LONG_AGO) for _ in range(replicas)]
    loads = {"a": 1000, "b": 1000, "c": 700}
    for table in tables:
        for name, load in loads.items():
            table.beat(make_beat(name, load=load, capacity=5000, replicas=replicas), 0.0)
    for number, table in enumerate(tables):
        for name, count in hand_out(table, 900 // replicas, 0.5, first=1000 * number).items():
            loads[name] += count
    assert max(loads.values()) - min(loads.values()) <= 3 * replicas


def test_a_replica_that_alone_is_asked_learns_that_its_tickets_are_all_there_are() -> None:
    """Its beats say three replicas; once the redeemed tickets are all its own, each counts as one."""
    table = Table(LONG_AGO)
    for name in ("a", "b"):
        table.beat(make_beat(name, capacity=10_000, replicas=3), 0.0)
    given_to = hand_out(table, 2000, 0.5)
    serials = [number.to_bytes(8, "big") for number in range(2000)]
    table.beat(make_beat("a", 2, load=2000, capacity=10_000, redeemed=serials, replicas=3), 1.0)
    table.beat(make_beat("b", 2, load=1900, capacity=10_000, replicas=3), 1.0)
    assert given_to == {"a": 1000, "b": 1000}
    assert hand_out(table, 100, 1.1, first=2000) == {"b": 100}


def test_gateways_that_come_up_together_do_not_ramp() -> None:
    table = Table(LONG_AGO)
    table.beat(make_beat("g1", capacity=1000), 0.0)
    table.beat(make_beat("g2", capacity=1000), 0.7)
    assert hand_out(table, 900, 0.8) == {"g1": 450, "g2": 450}


def test_a_young_replica_takes_unknown_redeemed_tickets_as_a_sign_of_more_and_forgets_the_guess() -> None:
    table = Table(0.0, interval_s=100.0)
    table.beat(make_beat("busy", redeemed=[b"a", b"b", b"c"]), 1.0)
    table.beat(make_beat("calm", load=2), 1.0)
    assert names(table.choose(1.0, 0.0)) == ["calm"]
    assert names(table.choose(1.0 + TICKET_S, 0.0)) == ["busy"]


def test_a_guess_never_makes_a_gateway_full() -> None:
    table = Table(0.0)
    table.beat(make_beat("g1", capacity=2, redeemed=[b"a", b"b", b"c"]), 1.0)
    assert hand_out(table, 3, 1.0) == {"g1": 2}


def test_a_grown_replica_ignores_redeemed_tickets_it_does_not_know() -> None:
    table = Table(0.0)
    table.beat(make_beat("g1", load=1, redeemed=[b"a", b"b"]), float(TICKET_S))
    table.beat(make_beat("g2", load=2), float(TICKET_S))
    assert names(table.choose(TICKET_S + 0.1, 0.0)) == ["g1"]


def test_the_number_of_components_is_bounded_and_known_ones_go_on() -> None:
    table = Table(LONG_AGO)
    for number in range(MAX_COMPONENTS):
        assert table.beat(make_beat(f"w{number}", kind=ComponentKind.WORKER, address=""), 0.0)
    assert not table.beat(make_beat("one-more", kind=ComponentKind.WORKER, address=""), 0.0)
    assert table.beat(make_beat("w7", 2, kind=ComponentKind.WORKER, address=""), 0.0)
