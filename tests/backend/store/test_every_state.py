"""Both engines do the same in every small state: a share of ``python -m tests.backend.store.every_state``.

The share is another one in each run of the day: all single calls in some states, and some pairs of calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest

from bench.support import services
from tests.backend.store.every_state.comparison import Comparison, pairs, singles
from tests.backend.store.every_state.states import SECOND, State, states

pytestmark = pytest.mark.engines

STATES, PAIRS = 40, 60
"""Every so many states, and of the orders of two in each of these every so many."""


@pytest.fixture
async def comparison() -> AsyncIterator[Comparison]:
    server = services.postgres()
    comparison = Comparison(server.url(server.database()))
    await comparison.start()
    yield comparison
    await comparison.stop()


def share(every: list[State], stride: int) -> list[State]:
    return every[date.today().toordinal() % stride :: stride]


async def test_every_call_does_the_same_on_both_engines(comparison: Comparison) -> None:
    for state in share(list(states(tuple(SECOND))), STATES):
        assert await comparison.compare(state, singles()) == []
    assert comparison.count > 4_000


async def test_every_order_of_two_calls_does_the_same_on_both_engines(comparison: Comparison) -> None:
    for place, state in enumerate(share(list(states(others=("",))), STATES // 10)):
        assert await comparison.compare(state, pairs()[place % PAIRS :: PAIRS]) == []
    assert comparison.count > 3_000
