"""A worker's process that asks one host as much as it may, for ever: ``python -m tests.kinds.asker CACHE URL``."""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from backend.cache.redis import RedisCache
from tests.kinds.crawling import runners, visit

TASKS = 16


async def main(cache: str, url: str) -> None:
    """Until killed."""
    numbers = count()
    async with runners(cache=lambda: RedisCache(cache)) as workers:

        async def ask() -> None:
            while True:
                await visit(workers, f"{url}{next(numbers)}")

        await asyncio.gather(*(ask() for _ in range(TASKS)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
