"""Interleaves rounds, so that changes of the machine's speed affect all candidates alike; the median of each figure
counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

Row = Mapping[str, float]
"""Figures of one round, by the name of their column."""


def take_turns(names: Sequence[str], count: int, measure: Callable[[str], Row]) -> dict[str, list[Row]]:
    """Measure every name once, then every name again, `count` times in all; the rows of each."""
    found: dict[str, list[Row]] = {name: [] for name in names}
    for turn in range(count):
        for name in names:
            print(f"round {turn + 1} of {count}: {name} ", file=sys.stderr, flush=True)
            found[name].append(measure(name))
    return found


def medians(rows: Iterable[Row]) -> dict[str, float]:
    """The median of each column. Raises ValueError for rows with different columns."""
    listed = list(rows)
    if any(row.keys() != listed[0].keys() for row in listed):
        raise ValueError("rows have different columns")
    return {name: median(row[name] for row in listed) for name in listed[0]}
