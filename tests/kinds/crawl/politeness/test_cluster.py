"""The manners of a whole deployment: three workers that share nothing but broker and Redis, four clients, one host."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import roost
from bench.support.services import redis
from roost.backend.assembly import worker_parts
from roost.backend.cache.redis_cache import RedisCache
from roost.backend.engines import Engines, EngineUrls
from roost.backend.kinds.crawl.output.crawl_result import CrawlResult
from roost.backend.kinds.crawl.politeness.host_coordinator import HostCoordinator
from roost.backend.kinds.registry import load
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.service import ServiceGroup
from tests.kinds.crawl.crawling import LOOPBACK
from tests.kinds.crawl.site import ROBOTS, robots, serve, tree
from tests.system.cluster import LIMITS, Cluster

pytestmark = [pytest.mark.engines, pytest.mark.slow]

DELAY_S = 1.0


class Crawlers(Cluster):
    """A cluster that crawls."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.engines = Engines(EngineUrls(cache=redis().url, store=f"sqlite:{folder}/jobs.db"), LIMITS)

    async def start_all(self) -> None:
        self.site = replace(self.site, kinds=load())
        await super().start_all()

    async def start_worker(self) -> ServiceGroup:
        return await self._start(ServiceGroup(worker_parts(self.site, 64, {"crawl": LOOPBACK})))


async def test_a_crawl_delay_holds_across_three_workers_and_four_jobs(tmp_path: Path) -> None:
    pages = tree(2, 3) | {ROBOTS: robots(f"User-agent: *\nCrawl-delay: {DELAY_S}")}
    async with serve(pages) as site, Crawlers(tmp_path) as cluster:
        await cluster.start_all()
        for _ in range(2):
            await cluster.start_worker()

        async def crawl(start: str) -> CrawlResult:
            async with roost.connect(cluster.url) as client:
                return await client.crawl(site.url + start, depth=2)

        results = await asyncio.gather(*map(crawl, ("", "0", "1", "00")))
        times = sorted(at for at, path, _ in site.log if path != ROBOTS)
        pages_asked = site.asked()
    assert [[len(level) for level in result.levels] for result in results] == [[1, 2, 4]] * 3 + [[1, 2]]
    gaps = [later - at for at, later in pairwise(times)]
    assert min(gaps) >= DELAY_S * 0.7, gaps  # a request may have been long on its way to the log, not long in leaving
    assert sorted(pages_asked) == ["", "0", "00", "000", "001", "01", "1", "10", "11"]  # each once, for all four


async def test_a_turn_in_redis_is_had_by_one() -> None:
    caches = [RedisCache(redis().url) for _ in range(4)]
    for cache in caches:
        await cache.start()
    turns = [HostCoordinator(cache, SYSTEM_CLOCK, b"%d" % i) for i, cache in enumerate(caches)]
    waits = await asyncio.gather(*(turn.take("one.example", 30) for turn in turns))
    assert waits.count(0.0) <= 1  # none, where this machine is so busy that all gave way
    assert all(0 < wait <= 31 for wait in await asyncio.gather(*(turn.take("one.example", 30) for turn in turns)))
    for cache in caches:
        await cache.stop()
