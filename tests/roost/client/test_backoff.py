from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roost.client.backoff import FIRST_S, LONGEST_S, Backoff

chance = st.floats(0, 1, exclude_max=True)


@given(st.lists(chance, max_size=100))
def test_a_wait_is_drawn_from_the_whole_of_an_interval_that_doubles_up_to_a_bound(draws: list[float]) -> None:
    backoff = Backoff()
    for number, draw in enumerate(draws):
        assert backoff.fail(draw) == min(LONGEST_S, FIRST_S * 2**number) * draw


def test_after_a_success_it_begins_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.fail(0.9)
    backoff.succeed()
    assert backoff.fail(1.0) == FIRST_S


@given(draw=chance, told=st.floats(0, 3600))
def test_a_time_told_by_the_server_holds_give_or_take_a_half(draw: float, told: float) -> None:
    assert told / 2 <= Backoff().fail(draw, told) <= told * 1.5
