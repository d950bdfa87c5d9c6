"""Engines die while fifty jobs run, and are back after ten seconds: nobody helps, and every job comes back, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web

import roost
from bench.support import services
from bench.support.scripted_client import PATIENCE_S
from bench.support.waiting import until
from roost.client.client import Client
from roost.errors import Overloaded
from tests.system.test_processes import deployed

pytestmark = [pytest.mark.engines, pytest.mark.slow]

JOBS, CLIENTS = 50, 10
EACH = JOBS // CLIENTS
DEPTH, WIDTH, PAGE_S = 16, 2, 2.0
"""A crawl goes level by level, so that it takes no less than 32 s."""
LATE_DEPTH = 2
OUTAGE_S = 10.0
SOME_PAGES = 150
"""About three seconds of all jobs' work."""
ALL_WITHIN_S = 150.0
MOST_LINES = 50
"""Logged by one part: a few for each outage, not one for each page or try."""


class SlowSites:
    """A site for each job, at an address of its own: `DEPTH` levels of `WIDTH` pages, each of which takes its time."""

    def __init__(self) -> None:
        self.served = 0
        self._new = asyncio.Condition()
        self._urls: list[str] = []

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get(r"/{level:\d+}/{number:\d+}.html", self._page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            for number in range(JOBS + 1):
                address = f"127.0.2.{number + 1}"
                await web.TCPSite(runner, address, 0).start()
                self._urls.append(f"http://{address}:{runner.addresses[-1][1]}")
            yield
        finally:
            await runner.cleanup()

    def start(self, number: int) -> str:
        """Where the crawl of a site begins."""
        return f"{self._urls[number]}/0/0.html"

    def levels(self, number: int, depth: int) -> list[list[str]]:
        """What the crawl of a site must find."""
        return [
            [f"{self._urls[number]}/{level}/{page}.html" for page in range(WIDTH if level else 1)]
            for level in range(depth + 1)
        ]

    async def serves_more(self, count: int = SOME_PAGES) -> None:
        """Return when so many more pages were asked for: the system works."""
        goal = self.served + count
        async with self._new:
            await self._new.wait_for(lambda: self.served >= goal)

    async def _page(self, request: web.Request) -> web.Response:
        await asyncio.sleep(PAGE_S)
        async with self._new:
            self.served += 1
            self._new.notify_all()
        level = int(request.match_info["level"]) + 1
        links = "".join(f'<a href="/{level}/{page}.html">{page}</a>' for page in range(WIDTH))
        return web.Response(text=links, content_type="text/html")


@asynccontextmanager
async def outage(engine: services.Service) -> AsyncIterator[None]:
    """It is killed, and comes back `OUTAGE_S` later."""
    await asyncio.to_thread(engine.kill)
    ends_at = asyncio.get_running_loop().time() + OUTAGE_S
    try:
        yield
        await asyncio.sleep(ends_at - asyncio.get_running_loop().time())
    finally:
        await asyncio.to_thread(engine.start)


async def all_are(state: str, table: str, database: str) -> bool:
    """Whether there is one row for each job asked for, and all are in this state."""
    question = f"SELECT state, count(*) FROM roost.{table} GROUP BY state"
    return await asyncio.to_thread(services.postgres().sql, database, question) == f"{state}|{JOBS + 1}"


async def complete(client: Client, sites: SlowSites, number: int, depth: int = DEPTH) -> None:
    """Crawl a site; nothing of it may be missing."""
    result = await client.crawl(sites.start(number), depth=depth)
    assert (result.outcome, result.failed, result.skipped) == ("done", [], [])
    assert result.levels == sites.levels(number, depth)


@pytest.mark.timeout(240)
async def test_i1_fifty_jobs_come_back_complete_and_once_although_each_engine_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROOST_LIVE_REQUESTS", str(EACH))
    async with deployed(lock=2, master=2, worker=2, gateway=2) as site:
        await kill_each_engine(site.discovery_url)
        assert await all_are("done", "jobs", site.database)
        await until(lambda: all_are("acked", "requests", site.database))
        for process in site.parts.values():
            assert len(process.complaints) < MOST_LINES, site.complaints()
        assert "Traceback" not in site.complaints()
        assert " ERROR " not in site.complaints()


async def kill_each_engine(url: str) -> None:
    """While jobs run; return when every client has what it asked for."""
    sites = SlowSites()
    async with sites.serve(), AsyncExitStack() as stack, asyncio.timeout(ALL_WITHIN_S), asyncio.TaskGroup() as jobs:
        clients = [await stack.enter_async_context(roost.connect(url)) for _ in range(CLIENTS)]
        crawls = [jobs.create_task(complete(clients[number % CLIENTS], sites, number)) for number in range(JOBS)]
        await sites.serves_more()
        async with outage(services.rabbitmq()), roost.connect(url) as newcomer:
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(Overloaded, match="try again in") as refusal:
                    await complete(newcomer, sites, JOBS)
            assert refusal.value.retry_after_s > 0
        await sites.serves_more()
        assert not any(job.done() for job in crawls)
        async with outage(services.redis()):
            await sites.serves_more()
        await sites.serves_more()
        assert not any(job.done() for job in crawls)
        async with outage(services.postgres()):
            newcomer = await stack.enter_async_context(roost.connect(url))
            jobs.create_task(complete(newcomer, sites, JOBS, LATE_DEPTH))
