"""Which task some code runs for, as a thread outside the event loop and a dump of the stack can tell.

`asyncio.current_task` says what the loop executes, also to other threads. That may be an asyncio task which a runner
has started by itself, so the worker's task is found through a context variable, which those inherit.

`faulthandler` can tell where a process hangs even when no Python code can run, but it writes only files, lines and
names of functions. Therefore each task is awaited by a function whose name is the task's.
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
    """The task in a few words."""
    return f"task {task.task} of job {task.job} ({task.kind})"


async def _wait_for(work: Awaitable[T]) -> T:
    return await work


def in_its_name(task: Task, work: Awaitable[T]) -> Awaitable[T]:
    """An awaitable for `work` that has the task's name on its stack.

    The caller's context, and those that it hands down to asyncio tasks from now on, belong to the task.
    """
    _running.set(task)
    name = describe(task)
    code = _wait_for.__code__.replace(co_name=name, co_qualname=name)
    return cast(Callable[[Awaitable[T]], Awaitable[T]], FunctionType(code, {}))(work)


def task_on(loop: asyncio.AbstractEventLoop) -> Task | None:
    """The worker's task for which `loop` executes code at this moment; None when it is not known. For any thread."""
    step = asyncio.current_task(loop)
    if step is None:
        return None
    return next((task for context in _contexts(step) if (task := context.get(_running)) is not None), None)


def _contexts(step: asyncio.Task[Any]) -> Iterable[Context]:
    if sys.version_info >= (3, 12):
        return [step.get_context()]
    return [each for each in gc.get_referents(step) if isinstance(each, Context)]  # Python 3.11 has no other way
