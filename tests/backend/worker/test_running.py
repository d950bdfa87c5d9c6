"""Whose task some code runs for, asked from outside the event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable
from typing import TypeVar

from roost.backend.worker.current_task import in_its_name, task_on
from roost.wire.messages.work import Task

T = TypeVar("T")
TASK = Task(7, 1, 3, "steps", b"", "reply.m1", 5.0)


def asked_by_a_thread() -> Task | None:
    """What a thread is told while this one waits for it, and holds the loop."""
    loop, told = asyncio.get_running_loop(), list[Task | None]()
    asking = threading.Thread(target=lambda: told.append(task_on(loop)))
    asking.start()
    asking.join()
    return told[0]


async def ask() -> Task | None:
    await asyncio.sleep(0)
    return asked_by_a_thread()


async def ask_in_a_task_of_its_own() -> Task | None:
    return await asyncio.create_task(ask())


async def test_a_thread_is_told_the_task_that_holds_the_loop_also_through_asyncio_tasks_that_it_started() -> None:
    for work in (ask, ask_in_a_task_of_its_own):
        own = asyncio.create_task(_run(work()))
        assert await own == TASK
        assert asked_by_a_thread() is None


async def test_nobody_is_named_for_what_is_no_task_of_a_worker() -> None:
    told = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: told.set_result(asked_by_a_thread()))
    assert await told is None
    assert asked_by_a_thread() is None


async def test_the_stack_names_the_task() -> None:
    async def names() -> list[str]:
        frame, found = sys._getframe(), list[str]()
        while frame.f_back is not None:
            frame = frame.f_back
            found.append(frame.f_code.co_name)
        return found

    assert "task 3 of job 7 (steps)" in await asyncio.create_task(_run(names()))


async def _run(work: Awaitable[T]) -> T:
    return await in_its_name(TASK, work)
