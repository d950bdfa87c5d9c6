"""A worker's process that asks one host as much as it may, for ever.

It is run as ``python -m tests.kinds.crawl.politeness.asker CACHE URL``.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import ContextVar
from itertools import count

import aiohttp

from roost.backend.cache.redis_cache import RedisCache
from roost.wire.clock import SystemClock
from tests.kinds.crawl.crawling import runners, visit

TASKS = 16
BEGAN = "X-Began"
"""Each request says here when its worker found that it may begin, in seconds of the machine's monotonic clock. It is
sent later than that where the process is stopped in between."""

_read_at: ContextVar[float] = ContextVar("_read_at", default=0.0)


class NotingClock(SystemClock):
    """The system's clocks; each task knows when it read the monotonic one last."""

    def monotonic(self) -> float:
        now = super().monotonic()
        _read_at.set(now)
        return now


async def _say_when(session: object, context: object, params: aiohttp.TraceRequestStartParams) -> None:
    params.headers[BEGAN] = str(_read_at.get())


async def main(cache: str, url: str) -> None:
    """Until killed."""
    numbers = count()
    async with runners(cache=lambda: RedisCache(cache), clock=NotingClock()) as workers:
        session = workers[0]._fetcher._session
        assert session is not None, "the runner was started"
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(_say_when)
        trace.freeze()
        session.trace_configs.append(trace)

        async def ask() -> None:
            while True:
                await visit(workers, f"{url}{next(numbers)}")

        await asyncio.gather(*(ask() for _ in range(TASKS)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
