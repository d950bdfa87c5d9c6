"""Runs work on pages that may take long in separate processes.

Hostile pages can make HTML tree builders slow and large, and these hold the interpreter's lock meanwhile; in a separate
process this affects neither the heartbeats of the worker nor its memory. Each piece of work has a time limit, after
which its process is killed, and a memory limit. The processes are started with the first piece of work.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

P = ParamSpec("P")
T = TypeVar("T")

PROCESSES = min(4, os.cpu_count() or 1)
WAITING = 4 * PROCESSES
"""Most pieces of work at a time; callers retry later beyond that, so that none waits past its deadline."""
MEMORY_BYTES = 1024 * 1024 * 1024
"""Limit of a process's address space; the interpreter itself takes a quarter."""
_PR_SET_PDEATHSIG = 1


class ResourceLimitExceeded(Exception):
    """The work took too long or too much memory, or its process died over it."""


class SandboxPool:
    """A pool of processes, shared by all tasks of a worker."""

    def __init__(self) -> None:
        self._pool: ProcessPool | None = None
        self._work: set[asyncio.Future[Any]] = set()

    @property
    def is_full(self) -> bool:
        """Whether callers should bring work later."""
        return len(self._work) >= WAITING

    async def do(self, limit_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns, or raise what it raises; function and arguments must be picklable.

        Raises ResourceLimitExceeded after `limit_s` seconds, or when the memory limit is reached. Cancelling this call
        ends the work too.
        """
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPool(PROCESSES, initializer=_settle, context=context)
        work = asyncio.wrap_future(self._pool.schedule(function, args=args, kwargs=kwargs, timeout=limit_s))
        self._work.add(work)
        try:
            await asyncio.wait({work})
            return work.result()
        except (TimeoutError, MemoryError, RecursionError, ProcessExpired) as problem:
            raise ResourceLimitExceeded(str(problem)) from problem
        finally:
            work.cancel()  # does nothing to what is done
            self._work.discard(work)

    async def stop(self) -> None:
        """Cancel all work and end all processes; fine to call twice."""
        pool, self._pool = self._pool, None
        for work in self._work:
            work.cancel()
        if pool is not None:
            pool.stop()  # type: ignore[no-untyped-call]
            await asyncio.to_thread(pool.join)


def _settle() -> None:
    """In a new process: limit its memory, and let it end with the worker, however that ends (prctl(2))."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
