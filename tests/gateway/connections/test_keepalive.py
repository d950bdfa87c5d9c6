from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from roost.gateway.connections.keepalive import KeepaliveConfig, PendingPongs, Verdict, idle_responsive, next_action
from roost.gateway.connections.slots import OPEN, STATES

PING, PONG, IDLE = 250, 100, 18_000
CONFIG = KeepaliveConfig(ping=PING, pong=PONG, idle=IDLE)


def run(
    fd: int,
    opened: int,
    until: int,
    answers: bool = True,
    read_at: frozenset[int] = frozenset(),
    config: KeepaliveConfig = CONFIG,
) -> list[tuple[int, object]]:
    """What happens to one connection, as (tick, verdict). A pong comes in the tick of its ping."""
    last_read = last_message = opened
    pinged = 0
    again = opened + 1
    pending = PendingPongs(config.pong)
    read_cells, pinged_cells = [0] * (fd + 1), [0] * (fd + 1)
    happened: list[tuple[int, object]] = []
    for now in range(opened + 1, until):
        if now in read_at:
            last_read = now
        if now >= again:
            verdict, again = next_action(fd, last_read, last_message, pinged, False, now, config)
            assert again > now
            if verdict is not Verdict.NOTHING:
                happened.append((now, verdict))
            if verdict is Verdict.IDLE:
                break
            if verdict is Verdict.PING:
                pending.note(fd, now)
                pinged = now
                last_read = now if answers else last_read
        read_cells[fd], pinged_cells[fd] = last_read, pinged
        if pending.silent(now, read_cells, pinged_cells):
            happened.append((now, "dead"))
            break
    return happened


@given(st.integers(0, 20_000), st.integers(1, 5000))
def test_a_silent_connection_is_pinged_once_in_every_period(fd: int, opened: int) -> None:
    pings = [tick for tick, verdict in run(fd, opened, opened + 10 * PING) if verdict is Verdict.PING]
    assert opened < pings[0] <= opened + PING
    assert {b - a for a, b in pairwise(pings)} == {PING}


@given(st.integers(0, 20_000), st.integers(1, 5000), st.sets(st.integers(1, 3000)))
def test_silence_is_never_longer_than_the_period_without_a_ping(fd: int, opened: int, last_read: set[int]) -> None:
    read_at = frozenset(opened + tick for tick in last_read)
    happened = run(fd, opened, opened + 3000, read_at=read_at)
    signs = sorted({opened, *read_at, *(tick for tick, verdict in happened if verdict is Verdict.PING), opened + 3000})
    assert max(b - a for a, b in pairwise(signs)) <= PING


def test_pings_of_a_crowd_that_came_in_one_tick_are_spread_evenly() -> None:
    pings: Counter[int] = Counter()
    for fd in range(1000):
        pings.update(tick for tick, verdict in run(fd, 100, 100 + 3 * PING) if verdict is Verdict.PING)
    assert set(pings.values()) == {1000 // PING}


def test_a_crowd_that_speaks_in_one_tick_is_pinged_over_half_a_period_afterwards() -> None:
    pings: Counter[int] = Counter()
    for fd in range(1000):
        happened = run(fd, 100, 100 + 4 * PING, read_at=frozenset((100 + 2 * PING,)))
        pings.update(tick for tick, verdict in happened if verdict is Verdict.PING and tick > 100 + 2 * PING)
    assert max(pings.values()) <= 1000 // (PING // 2)


def test_a_busy_connection_is_not_pinged() -> None:
    opened = 100
    read_at = frozenset(range(opened, opened + 5000, PING // 4))
    assert not [tick for tick, verdict in run(3, opened, opened + 5000, read_at=read_at) if tick > opened + PING]


@given(st.integers(0, 20_000), st.integers(1, 5000))
def test_one_that_does_not_answer_is_dead_after_exactly_its_time(fd: int, opened: int) -> None:
    (ping, first), (dead, second) = run(fd, opened, opened + 3 * PING, answers=False)
    assert (first, second) == (Verdict.PING, "dead")
    assert dead == ping + PONG


@given(st.integers(0, 2000), st.integers(1, PONG - 1))
def test_any_byte_after_the_ping_counts_as_an_answer(fd: int, later: int) -> None:
    opened = 100
    ping = run(fd, opened, opened + 2 * PING)[0][0]
    happened = run(fd, opened, ping + PONG + 1, answers=False, read_at=frozenset((ping + later,)))
    assert "dead" not in dict(happened).values()


@given(st.integers(0, 2000))
def test_an_idle_client_is_sent_home_after_exactly_its_time(fd: int) -> None:
    tick, verdict = run(fd, 1, 1 + IDLE + 1000)[-1]
    assert (tick, verdict) == (1 + IDLE, Verdict.IDLE)


def test_a_new_tenant_does_not_answer_for_a_ping_of_the_last_one() -> None:
    pending = PendingPongs(PONG)
    pending.note(5, 10)
    assert pending.silent(10 + PONG - 1, [0] * 6, [10] * 6) == []
    assert pending.silent(10 + PONG, [0] * 6, [0] * 6) == [], "this one was never pinged"
    pending.note(5, 20)
    assert pending.silent(20 + PONG, [19] * 6, [20] * 6) == [5]


def test_a_held_client_is_never_idle() -> None:
    verdict, again = next_action(1, 40_000, 1, 39_990, True, 40_000, CONFIG)
    assert verdict is Verdict.NOTHING
    assert again > 40_000


def test_zero_switches_pings_and_idle_closing_off() -> None:
    off = KeepaliveConfig(ping=0, pong=PONG, idle=0)
    assert run(1, 1, 50_000, config=off) == []


TICKS = st.integers(0, 1200)


@given(
    st.sampled_from(STATES),
    TICKS,
    TICKS,
    TICKS,
    st.integers(1, 1200),
    st.sampled_from([0, 250]),
    st.sampled_from([0, 300]),
)
def test_the_short_way_goes_only_where_the_long_one_would(
    state: int, last_read: int, last_message: int, pinged: int, now: int, ping: int, idle: int
) -> None:
    config = KeepaliveConfig(ping, PONG, idle)
    if idle_responsive([0], [state], [last_read], [last_message], [pinged], now, config):
        assert state == OPEN
        assert next_action(0, last_read, last_message, pinged, False, now, config) == (Verdict.PING, now + ping)


def test_who_answers_each_ping_and_says_nothing_else_goes_the_short_way() -> None:
    assert idle_responsive([0], [OPEN], [301], [50], [300], 300 + PING, CONFIG) == [0]
    assert idle_responsive([0], [OPEN], [300], [50], [300], 300 + PING, CONFIG) == [0]
    assert idle_responsive([0], [OPEN], [299], [50], [300], 300 + PING, CONFIG) == []


def test_all_who_were_pinged_together_are_asked_after() -> None:
    pending = PendingPongs(PONG)
    pending.note_all([1, 2, 3], 7)
    pending.note(4, 7)
    assert pending.silent(7 + PONG, [9, 6, 8, 5, 6], [7, 7, 7, 7, 7]) == [1, 3, 4]
