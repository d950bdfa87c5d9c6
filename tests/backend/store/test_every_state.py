"""SQLite and PostgreSQL do the same in small states: a share of what ``every_state`` compares.

All of it takes an hour or two: ``python -m tests.backend.store.comparison.every_state``. Here it is one state of 37,
and one question of 7 in each. ``pytest -s`` prints how many cases there were.
"""

from __future__ import annotations

import sys
import time

import pytest

from tests.backend.store.comparison.every_state import compare, report

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def test_both_engines_answer_and_hold_the_same_in_small_states() -> None:
    began = time.monotonic()
    found = await compare(of_states=37, of_questions=7)
    sys.stdout.write(f"\n{report(found, began)}\n")
    assert not found.differences
    assert found.counts["pairs in a batch"] > 1000
    assert found.counts["pairs in two calls"] > 1000
