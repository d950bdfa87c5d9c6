"""What one ticket of a replica stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.discovery.core.replica_share import MAX_MULTIPLIER, WINDOW_S, ReplicaShare


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_before_anything_was_heard_the_number_of_replicas_is_believed(replicas: int) -> None:
    assert ReplicaShare(0.0).multiplier(replicas) == pytest.approx(replicas)


@pytest.mark.parametrize("replicas", [1, 5])
def test_what_is_heard_outweighs_it(replicas: int) -> None:
    share = ReplicaShare(0.0)
    for second in range(20):
        share.hear(250, 1000, float(second))
    assert share.multiplier(replicas) == pytest.approx(4.0, rel=0.02)


def test_when_the_others_die_what_was_heard_before_fades() -> None:
    share = ReplicaShare(0.0)
    share.hear(100, 500, 0.0)
    assert share.multiplier(5) == pytest.approx(5.0)
    share.hear(500, 500, 2 * WINDOW_S)
    assert share.multiplier(5) < 1.2


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e4)), max_size=50),
    st.integers(-1, 2000),
)
def test_an_echo_is_always_within_its_bounds(heard: list[tuple[int, int, float]], replicas: int) -> None:
    share, now = ReplicaShare(0.0), 0.0
    for own, others, pause_s in heard:
        now += pause_s
        share.hear(own, own + others, now)
        assert 1.0 <= share.multiplier(replicas) <= MAX_MULTIPLIER
