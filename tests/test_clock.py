"""The clocks: the one that tests move, and the machine's."""

from __future__ import annotations

import asyncio

from roost.wire.clock import SYSTEM_CLOCK, Clock
from tests.clock import ManualClock


async def test_sleepers_wake_at_their_own_time_in_order() -> None:
    clock = ManualClock(monotonic_s=0.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper(name, at)) for name, at in (("c", 3.0), ("a", 1.0), ("b", 1.0), ("late", 9.0))]
    await clock.advance(0.5)
    assert woken == []
    await clock.advance(4.5)
    assert woken == [("a", 1.0), ("b", 1.0), ("c", 3.0)]
    assert (clock.monotonic(), clock.sleepers()) == (5.0, 1)
    await clock.advance(4.0)
    assert woken[-1] == ("late", 9.0)
    await asyncio.gather(*tasks)


async def test_who_sleeps_again_is_woken_again_within_one_advance() -> None:
    clock, beats = ManualClock(), list[float]()

    async def beat() -> None:
        while True:
            await clock.sleep(2.0)
            beats.append(clock.monotonic() - 1_000.0)

    task = asyncio.create_task(beat())
    await clock.advance(7.0)
    assert beats == [2.0, 4.0, 6.0]
    task.cancel()
    await clock.settle()
    assert clock.sleepers() == 0
    await clock.advance(7.0)
    assert len(beats) == 3


async def test_wall_time_moves_along() -> None:
    clock = ManualClock(monotonic_s=5.0, wall_s=1_000_000.0)
    await clock.advance(2.5)
    assert (clock.monotonic(), clock.wall()) == (7.5, 1_000_002.5)


async def test_sleeping_for_no_time_lets_others_run() -> None:
    for clock in (ManualClock(), SYSTEM_CLOCK):
        await _others_run(clock)


async def _others_run(clock: Clock) -> None:
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    before = clock.monotonic()
    await clock.sleep(0)
    assert ran.is_set()
    assert clock.monotonic() >= before
    assert clock.wall() > 1_700_000_000
