"""When a gateway sweeps: never later than it promises, and soon after an outage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.client_protocol.poll_schedule import (
    AGAIN_S,
    SPREAD,
    SPREAD_AGAIN,
    keep_polling,
    pause_s,
)
from roost.backend.client_protocol.requests import POLL_S
from roost.backend.store.port import SWEPT_WITHIN_S
from roost.wire.errors import Unavailable
from tests.clock import ManualClock

JITTER = st.floats(0.0, 1.0)


class Locks:
    """The lock servers, seen by a gateway that sweeps; `problem` is what a sweep raises."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.problem: Exception | None = None
        self.asked_at: list[float] = []

    async def sweep(self) -> None:
        self.asked_at.append(self._clock.monotonic())
        if self.problem is not None:
            raise self.problem

    def asked_since(self, began: float) -> int:
        return sum(at > began for at in self.asked_at)


@asynccontextmanager
async def sweeping(clock: ManualClock) -> AsyncIterator[Locks]:
    locks = Locks(clock)
    task = asyncio.create_task(keep_polling(locks.sweep, POLL_S, clock))
    try:
        yield locks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@given(every_s=st.floats(0.1, 60.0), jitter=JITTER)
def test_p26_regular_sweeps_are_at_most_a_period_apart_and_spread(every_s: float, jitter: float) -> None:
    assert every_s * (1 - SPREAD) <= pause_s(every_s, True, jitter) * (1 + 1e-9)
    assert pause_s(every_s, True, jitter) <= every_s


@given(every_s=st.floats(0.1, 60.0), jitter=JITTER)
def test_p26_an_unanswered_sweep_is_repeated_soon_but_not_at_once(every_s: float, jitter: float) -> None:
    longest = min(AGAIN_S, every_s)
    assert longest * (1 - SPREAD_AGAIN) <= pause_s(every_s, False, jitter) * (1 + 1e-9)
    assert pause_s(every_s, False, jitter) <= longest


def test_p26_a_gateway_keeps_its_promise_with_time_for_an_answer_of_a_few_seconds() -> None:
    assert POLL_S + 5.0 <= SWEPT_WITHIN_S


async def test_p26_a_gateway_sweeps_soon_after_an_outage_and_then_regularly() -> None:
    clock = ManualClock()
    async with sweeping(clock) as locks:
        await clock.advance(POLL_S)
        assert len(locks.asked_at) == 1
        locks.problem = Unavailable("lock server", "the store is away")
        await clock.advance(130.0)
        back_at, locks.problem = clock.monotonic(), None
        await clock.advance(AGAIN_S)
        assert locks.asked_since(back_at) == 1
        await clock.advance(POLL_S * (1 - SPREAD) - AGAIN_S)
        assert locks.asked_since(back_at) == 1
        await clock.advance(AGAIN_S + POLL_S * SPREAD)  # when the second is due at the latest, and no third one yet
        assert locks.asked_since(back_at) == 2


async def test_p26_whatever_a_sweep_raises_the_gateway_sweeps_again() -> None:
    clock = ManualClock()
    async with sweeping(clock) as locks:
        locks.problem = RuntimeError("a bug")
        await clock.advance(3 * POLL_S)
        assert len(locks.asked_at) == 3


async def test_an_outage_is_logged_once_by_a_gateway_that_sweeps(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = ManualClock()
    async with sweeping(clock) as locks:
        for _ in range(2):
            locks.problem = Unavailable("lock server", "the store is away")
            await clock.advance(130.0)
            locks.problem = None
            await clock.advance(POLL_S)
    assert [record.message for record in caplog.records] == ["poll not answered"] * 2
