"""Looks at an event loop: it stands still when nothing has happened for the bound, however long a look took."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.worker.stall_detector import LOOK_S, StallDetector


@pytest.mark.parametrize(("bound_s", "looks"), [(0.1, 1), (LOOK_S, 1), (1, 2), (1.2, 3), (10, 20)])
def test_the_bound_is_rounded_up_to_whole_looks(bound_s: float, looks: int) -> None:
    stillness = StallDetector(bound_s)
    assert [stillness.look("mark") for _ in range(looks + 1)] == [*[False] * looks, True]
    assert stillness.still_s == looks * LOOK_S


@given(st.lists(st.integers(0, 2)), st.integers(1, 4))
def test_it_is_told_once_for_each_bound_that_passes_without_any_change(marks: list[int], looks: int) -> None:
    stillness = StallDetector(looks * LOOK_S)
    told = [stillness.look(mark) for mark in marks]
    runs = [len(list(run)) for _, run in groupby(marks)]
    assert told == [place > 0 and place % looks == 0 for length in runs for place in range(length)]
