"""What take-over is measured with."""

from __future__ import annotations

import argparse

import pytest

from bench.load.takeover import Takeover, quantile

pytestmark = [pytest.mark.engines, pytest.mark.slow]


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [([3.0, 1.0, 2.0], 0.99, 3.0), ([float(n) for n in range(1, 101)], 0.99, 99.0), ([5.0], 0.5, 5.0)],
)
def test_a_quantile_is_a_value_that_was_measured(values: list[float], share: float, found: float) -> None:
    assert quantile(values, share) == found


def test_only_pages_of_crawls_that_were_taken_over_count_and_each_repeat_once() -> None:
    measured = Takeover(argparse.Namespace(rounds=1, masters=2, jobs=1))
    for crawl, pages in {"taken": ("a", "b", "a", "a"), "left alone": ("a", "a")}.items():
        measured._sites.asked[crawl] += [(0.0, page) for page in pages]
    measured.found.crawls_taken.add("taken")
    assert measured.twice() == (2, 2)
