from __future__ import annotations

import pytest

from bench.support.rounds import medians, take_turns


def test_rounds_take_turns_so_that_moods_of_the_machine_hit_all_alike() -> None:
    order: list[str] = []

    def measure(name: str) -> dict[str, float]:
        order.append(name)
        return {"figure": float(len(order))}

    found = take_turns(["a", "b"], 3, measure)
    assert order == ["a", "b"] * 3
    assert found == {"a": [{"figure": n} for n in (1.0, 3.0, 5.0)], "b": [{"figure": n} for n in (2.0, 4.0, 6.0)]}


def test_the_median_of_each_column_counts_not_that_of_a_row() -> None:
    rows = [{"rate": 1.0, "cost": 30.0}, {"rate": 2.0, "cost": 10.0}, {"rate": 9.0, "cost": 20.0}]
    assert medians(rows) == {"rate": 2.0, "cost": 20.0}


def test_rows_with_different_columns_are_not_averaged() -> None:
    with pytest.raises(ValueError, match="different columns"):
        medians([{"rate": 1.0}, {"cost": 1.0}])
