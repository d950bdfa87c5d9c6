from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.support.clients.close_stats import NO_CODE, CloseStats, largest_share


def test_a_close_frame_is_counted_by_its_code_also_when_it_has_none() -> None:
    farewells = CloseStats()
    farewells.hear((1012).to_bytes(2, "big") + b"moved", 1.0)
    farewells.hear((1012).to_bytes(2, "big"), 2.0)
    farewells.hear(b"", 3.0)
    assert farewells.codes == {1012: 2, NO_CODE: 1}
    assert farewells.times_s == [1.0, 2.0, 3.0]


def test_farewells_survive_json_and_add_up() -> None:
    one, other = CloseStats(resets=1, silent=2), CloseStats(silent=3)
    one.hear(b"\x03\xf4", 1.5)
    other.hear(b"\x03\xf4", 2.5)
    total = CloseStats.sum(CloseStats.from_json(each.as_json()) for each in (one, other))
    assert total == CloseStats(codes=one.codes + other.codes, times_s=[1.5, 2.5], resets=1, silent=5)
    assert CloseStats.sum([]) == CloseStats()


@pytest.mark.parametrize(
    ("times_s", "share"),
    [([], 0.0), ([5.0], 1.0), ([0.0, 1.0, 2.0, 3.0], 0.5), ([0.0, 0.9, 1.8, 1.9, 2.0], 0.6), ([3.0, 3.0, 9.0], 2 / 3)],
)
def test_the_largest_share_of_any_second(times_s: list[float], share: float) -> None:
    assert largest_share(times_s, 1.0) == pytest.approx(share)
    assert largest_share(times_s[::-1], 1.0) == pytest.approx(share)


@given(st.lists(st.integers(0, 40)), st.integers(0, 10))
def test_the_largest_share_is_what_counting_around_each_time_finds(times: list[int], width: int) -> None:
    counts = [sum(begin <= time <= begin + width for time in times) for begin in times]
    assert largest_share(times, width) == (max(counts) / len(times) if times else 0.0)
