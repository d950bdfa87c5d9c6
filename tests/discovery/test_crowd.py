from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from discovery.crowd import LONGEST_S, SLOWEST_RATE, WINDOW_S, Crowd


def test_the_first_one_turned_away_comes_back_soon() -> None:
    assert Crowd(0.0).refuse(0.0) == 1


def test_a_crowd_is_spread_over_the_time_that_the_measured_rate_needs() -> None:
    """1,000 clients got in over the window, so 100 a second: the 2,000th who waits is sent away for about 20 s."""
    crowd = Crowd(0.0)
    for _ in range(1000):
        crowd.admit(0.0)
    waits = [crowd.refuse(0.0) for _ in range(2000)]
    assert waits == sorted(waits)
    assert waits[-1] == 20


def test_without_any_admission_a_hopeful_rate_is_assumed() -> None:
    crowd = Crowd(0.0)
    waits = [crowd.refuse(0.0) for _ in range(200)]
    assert waits[-1] == 200 / SLOWEST_RATE


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e6)), max_size=200))
def test_the_time_is_always_within_its_bounds(events: list[tuple[bool, float]]) -> None:
    now, crowd = 0.0, Crowd(0.0)
    for admitted, pause in events:
        now += pause
        if admitted:
            crowd.admit(now)
        else:
            assert 1 <= crowd.refuse(now) <= LONGEST_S


def test_what_happened_long_ago_counts_no_more() -> None:
    crowd = Crowd(0.0)
    for _ in range(10_000):
        crowd.refuse(0.0)
    assert crowd.refuse(20 * WINDOW_S) == 1
