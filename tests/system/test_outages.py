"""Engines die while fifty jobs run, and are back after ten seconds: nobody helps, and every job comes back, once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web

import roost
from roost.client import Client
from roost.errors import Overloaded
from tests import services
from tests.backend.contract_broker import until
from tests.system.talk import PATIENCE_S
from tests.system.test_processes import Process, has_gateway, part

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


@dataclass
class Deployment:
    """Two of each part, as processes of their own."""

    url: str
    database: str
    parts: dict[str, Process]

    async def counted(self, table: str) -> str:
        """How many rows of a table are in which state."""
        question = f"SELECT state, count(*) FROM roost.{table} GROUP BY state ORDER BY state"
        return await asyncio.to_thread(services.postgres().sql, self.database, question)

    def complaints(self) -> str:
        return "".join(f"{name}: {line}" for name, process in self.parts.items() for line in process.complaints)


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    database = services.postgres().database()
    store = services.postgres().url(database)
    engines = ("--broker", services.rabbitmq().url, "--cache", services.redis().url)
    live = ("--live-requests", str(EACH))
    async with AsyncExitStack() as stack:
        discovery = await stack.enter_async_context(part("discovery", "--port", "0"))
        url = re.findall(r"http://\S+", discovery.said)[0]
        known = ("--discovery", url)
        commands = {
            "lock": ("lock", "--port", "0", "--store", store, *known, *live),
            "master": ("master", *known, *engines),
            "worker": ("worker", "--allow-private", "127.0.0.0/8", "--worker-slots", "128", *known, *engines),
            "gateway": ("gateway", "--gateway-port", "0", *known, *engines, *live),
        }
        names = [f"{name} {number}" for name in commands for number in (1, 2)]
        starting = (stack.enter_async_context(part(*commands[name.split()[0]])) for name in names)
        parts = dict(zip(names, await asyncio.gather(*starting), strict=True))
        await until(lambda: has_gateway(url))
        yield Deployment(url, database, {"discovery": discovery, **parts})


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


async def is_acknowledged(deployment: Deployment) -> bool:
    """Every client has its results, and nothing else waits."""
    return await deployment.counted("waiters") == f"acked|{JOBS + 1}"


async def complete(client: Client, sites: SlowSites, number: int, depth: int = DEPTH) -> None:
    """Crawl a site; nothing of it may be missing."""
    result = await client.crawl(sites.start(number), depth=depth)
    assert (result.outcome, result.failed, result.skipped) == ("done", [], [])
    assert result.levels == sites.levels(number, depth)


@pytest.mark.timeout(240)
async def test_i1_fifty_jobs_come_back_complete_and_once_although_each_engine_is_killed(
    deployment: Deployment,
) -> None:
    sites = SlowSites()
    async with sites.serve(), AsyncExitStack() as stack, asyncio.timeout(ALL_WITHIN_S), asyncio.TaskGroup() as jobs:
        clients = [await stack.enter_async_context(roost.connect(deployment.url)) for _ in range(CLIENTS)]
        crawls = [jobs.create_task(complete(clients[number % CLIENTS], sites, number)) for number in range(JOBS)]
        await sites.serves_more()
        async with outage(services.rabbitmq()), roost.connect(deployment.url) as newcomer:
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
            newcomer = await stack.enter_async_context(roost.connect(deployment.url))
            jobs.create_task(complete(newcomer, sites, JOBS, LATE_DEPTH))
    assert await deployment.counted("jobs") == f"done|{JOBS + 1}"
    await until(lambda: is_acknowledged(deployment))
    for process in deployment.parts.values():
        assert len(process.complaints) < MOST_LINES, deployment.complaints()
    assert "Traceback" not in deployment.complaints()
    assert " ERROR " not in deployment.complaints()
