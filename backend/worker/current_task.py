"""Find the worker's task that the event loop is executing, from another thread and from a stack dump.

`asyncio.current_task` returns what the loop executes, also in other threads. That may be an asyncio task that a runner
started itself, so the worker's task is found through a context variable, which such tasks inherit.

`faulthandler` can show where a process hangs even when no Python code can run, but it writes only the names of files
and functions and the lines. Therefore each task is awaited by a function that carries the task's description as its
name.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, ContextVar
from types import FunctionType
from typing import Any, TypeVar, cast

from roost.wire.messages.work import Task

T = TypeVar("T")

_running: ContextVar[Task] = ContextVar("the worker's task")


def describe(task: Task) -> str:
    """Return a short description of the task: its number, job and kind."""
    return f"task {task.task} of job {task.job} ({task.kind})"


async def _wait_for(work: Awaitable[T]) -> T:
    return await work


def in_its_name(task: Task, work: Awaitable[T]) -> Awaitable[T]:
    """Return an awaitable for `work` that shows the task's description in stack dumps.

    It also marks the caller's context, and contexts that asyncio tasks inherit from it afterwards, as the task's.
    """
    _running.set(task)
    name = describe(task)
    code = _wait_for.__code__.replace(co_name=name, co_qualname=name)
    return cast(Callable[[Awaitable[T]], Awaitable[T]], FunctionType(code, {}))(work)


def task_on(loop: asyncio.AbstractEventLoop) -> Task | None:
    """Return the worker's task for which `loop` is executing code, or None when it is not known. Thread-safe."""
    step = asyncio.current_task(loop)
    if step is None:
        return None
    return next((task for context in _contexts(step) if (task := context.get(_running)) is not None), None)


def _contexts(step: asyncio.Task[Any]) -> Iterable[Context]:
    if sys.version_info >= (3, 12):
        return [step.get_context()]
    return [each for each in gc.get_referents(step) if isinstance(each, Context)]  # Python 3.11 has no other way
