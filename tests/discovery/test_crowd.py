from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roost.discovery.core.retry_after import (
    LEAST_BEST_RATE,
    LONGEST_S,
    SLOWEST_RATE,
    WINDOW_S,
    RetryAfterEstimator,
    Want,
)


def test_the_first_one_turned_away_comes_back_soon() -> None:
    assert RetryAfterEstimator(0.0).refuse(0.0) == 1


def test_a_crowd_is_spread_over_the_time_that_the_measured_rate_needs() -> None:
    """1,000 clients got in over the window, so 100 a second: the 2,000th who waits is sent away for about 20 s."""
    crowd = RetryAfterEstimator(0.0)
    for _ in range(1000):
        crowd.admit(0.0)
    waits = [crowd.refuse(0.0) for _ in range(2000)]
    assert waits == sorted(waits)
    assert waits[-1] == 20


def test_without_any_admission_a_hopeful_rate_is_assumed() -> None:
    crowd = RetryAfterEstimator(0.0)
    waits = [crowd.refuse(0.0) for _ in range(200)]
    assert waits[-1] == 200 / SLOWEST_RATE


def test_while_no_gateway_is_there_the_crowd_is_spread_by_the_best_rate_of_the_last_minutes() -> None:
    """20,000 got in at once, so 2,000 a second; a minute of silence later all gateways are gone, and all ask again."""
    crowd = RetryAfterEstimator(0.0)
    for _ in range(20_000):
        crowd.admit(0.0)
    waits = [crowd.refuse(60.0, Want.OF_GATEWAYS) for _ in range(20_000)]
    assert waits == sorted(waits)
    assert 10 <= waits[-1] <= 12


def test_gateways_that_never_had_a_crowd_are_trusted_with_one() -> None:
    crowd = RetryAfterEstimator(0.0)
    crowd.admit(0.0)
    waits = [crowd.refuse(0.0, Want.OF_GATEWAYS) for _ in range(5000)]
    assert waits[-1] == 5000 / LEAST_BEST_RATE


def test_a_replica_that_just_started_sends_nobody_away_for_long() -> None:
    crowd = RetryAfterEstimator(0.0)
    assert {crowd.refuse(0.0, Want.OF_BEATS) for _ in range(50_000)} == {1}
    assert crowd.refuse(0.0) == 1


@given(st.lists(st.tuples(st.sampled_from([None, *Want]), st.floats(0, 1e6)), max_size=200))
def test_the_time_is_always_within_its_bounds(events: list[tuple[Want | None, float]]) -> None:
    now, crowd = 0.0, RetryAfterEstimator(0.0)
    for want, pause in events:
        now += pause
        if want is None:
            crowd.admit(now)
        else:
            assert 1 <= crowd.refuse(now, want) <= LONGEST_S


def test_what_happened_long_ago_counts_no_more() -> None:
    crowd = RetryAfterEstimator(0.0)
    for _ in range(10_000):
        crowd.refuse(0.0)
    assert crowd.refuse(20 * WINDOW_S) == 1
