"""A task's time, which a process that stands still does not use up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from roost.backend.worker.active_timeout import TURN_S, active_timeout
from tests.simulation.loop import VirtualLoop

ALLOWED_S = 6.0


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def took_s(loop: VirtualLoop, work: Coroutine[Any, Any, None]) -> float:
    began = loop.time()
    loop.run_until_complete(work)
    return loop.time() - began


async def hang() -> None:
    with pytest.raises(TimeoutError):
        async with active_timeout(ALLOWED_S):
            await asyncio.get_running_loop().create_future()


def test_what_hangs_is_ended_when_its_time_is_over(loop: VirtualLoop) -> None:
    assert ALLOWED_S <= took_s(loop, hang()) <= ALLOWED_S + TURN_S


def test_time_for_which_the_process_stood_still_does_not_count(loop: VirtualLoop) -> None:
    async def work() -> None:
        async with active_timeout(ALLOWED_S):
            for _ in range(3):
                await asyncio.sleep(1.0)
                loop.now += 100.0

    assert took_s(loop, work()) > 300.0


def test_what_hangs_is_ended_also_after_the_process_stood_still(loop: VirtualLoop) -> None:
    loop.call_later(1.0, lambda: setattr(loop, "now", loop.now + 100.0))
    assert took_s(loop, hang()) <= 100.0 + ALLOWED_S + TURN_S


def test_what_ends_in_time_leaves_no_timer_behind(loop: VirtualLoop) -> None:
    async def work() -> None:
        async with active_timeout(ALLOWED_S):
            await asyncio.sleep(0.1)

    assert took_s(loop, work()) == pytest.approx(0.1)
    assert all(timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]


def test_an_error_in_the_block_is_its_own(loop: VirtualLoop) -> None:
    async def work() -> None:
        async with active_timeout(ALLOWED_S):
            raise KeyError(1)

    with pytest.raises(KeyError):
        took_s(loop, work())
