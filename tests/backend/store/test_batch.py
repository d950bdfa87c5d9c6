"""Group commit: what arrives during a commit shares the next one, and a failure is only that commit's."""

from __future__ import annotations

import asyncio

import pytest

from roost.backend.lock.group_commit import Batcher
from roost.wire.errors import Unavailable


class Store:
    """Commits when it is told to; answers each number with its square."""

    def __init__(self) -> None:
        self.commits: list[list[int]] = []
        self.gate, self.asked = asyncio.Event(), asyncio.Event()
        self.is_away = False

    async def commit(self, numbers: list[int]) -> list[int]:
        self.commits.append(numbers)
        self.asked.set()
        await self.gate.wait()
        if self.is_away:
            raise Unavailable("store", "away")
        return [number**2 for number in numbers]


async def asked(batcher: Batcher[int, int], store: Store, *asks: list[int]) -> list[asyncio.Task[list[int]]]:
    """Asks that have all been made; the first is in its commit."""
    tasks = []
    for numbers in asks:
        tasks.append(asyncio.create_task(batcher.ask(numbers)))
        await asyncio.sleep(0)
    await store.asked.wait()
    return tasks


async def test_what_arrives_during_a_commit_shares_the_next_one_and_each_gets_its_own_answers() -> None:
    store = Store()
    tasks = await asked(Batcher(store.commit), store, [1], [2, 3], [], [4])
    store.gate.set()
    assert await asyncio.gather(*tasks) == [[1], [4, 9], [], [16]]
    assert store.commits == [[1], [2, 3, 4]]


async def test_a_commit_is_bounded_but_never_splits_one_ask() -> None:
    store = Store()
    tasks = await asked(Batcher(store.commit, most=3), store, [1], [2, 3], [4], [5], [6, 7, 8, 9])
    store.gate.set()
    await asyncio.gather(*tasks)
    assert store.commits == [[1], [2, 3, 4], [5], [6, 7, 8, 9]]


async def test_what_weighs_more_counts_for_more() -> None:
    store = Store()
    batcher: Batcher[int, int] = Batcher(store.commit, weigh=lambda number: number, most=10)
    tasks = await asked(batcher, store, [1], [9], [1], [1], [50], [8])
    store.gate.set()
    await asyncio.gather(*tasks)
    assert store.commits == [[1], [9, 1], [1], [50], [8]]


async def test_a_failed_commit_is_told_to_all_who_shared_it_and_the_next_one_works() -> None:
    store = Store()
    batcher = Batcher(store.commit)
    tasks = await asked(batcher, store, [1], [2], [3])
    store.is_away = True
    store.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    store.is_away = False
    assert await batcher.ask([5]) == [25]


async def test_one_who_stops_waiting_disturbs_nobody() -> None:
    store = Store()
    batcher = Batcher(store.commit)
    tasks = await asked(batcher, store, [1], [2], [3])
    for gone in tasks[:2]:
        gone.cancel()
    store.gate.set()
    assert await tasks[2] == [9]
    assert await batcher.ask([4]) == [16]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
