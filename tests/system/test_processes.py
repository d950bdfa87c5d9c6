"""Every part as a process of its own, as an operator starts it, over a real RabbitMQ, Redis and PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web

import roost
from bench.support import services, sites
from bench.support.components import STEPS, Process, part
from bench.support.scripted_client import ScriptedClient
from bench.support.waiting import has_gateway, until

pytestmark = [pytest.mark.engines, pytest.mark.slow]


@dataclass
class Site:
    """All parts, by name, in the order they were started, and the database that their lock servers use."""

    discovery_url: str
    parts: dict[str, Process]
    database: str

    def complaints(self) -> str:
        return "".join(f"{name}: {line}" for name, process in self.parts.items() for line in process.complaints)


@asynccontextmanager
async def deployed(**more: int) -> AsyncIterator[Site]:
    """Every part over the three real services; `more` says of which kinds more than one."""
    database = services.postgres().database()
    store = services.postgres().url(database)
    engines = ("--broker", services.rabbitmq().url, "--cache", services.redis().url)
    async with AsyncExitStack() as stack:
        discovery = await stack.enter_async_context(part("discovery", "--port", "0"))
        url = re.findall(r"http://\S+", discovery.said)[0]
        known = ("--discovery", url)
        kinds = {
            "lock": ("lock", "--port", "0", "--store", store, *known),
            "master": ("master", *known, *engines, *STEPS),
            "worker": ("worker", "--allow-private", "127.0.0.0/8", *known, *engines, *STEPS),
            "gateway": ("gateway", "--gateway-port", "0", *known, *engines, *STEPS),
        }
        commands = {
            f"{kind} {number}": command for kind, command in kinds.items() for number in range(1, more.get(kind, 1) + 1)
        }
        starting = (stack.enter_async_context(part(*command)) for command in commands.values())
        parts = dict(zip(commands, [await process for process in starting], strict=True))
        await until(lambda: has_gateway(url))
        yield Site(url, {"discovery": discovery, **parts}, database)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with deployed() as site:
        yield site


async def test_jobs_and_crawls_come_back_from_parts_in_processes_of_their_own_and_sigterm_ends_each(
    site: Site,
) -> None:
    async with ScriptedClient(site.discovery_url) as talker:
        await talker.hello()
        await talker.submit("steps", levels=3, width=20, bytes=1000)
        result, parts = await talker.result()
        assert (result["outcome"], [len(level) for level in parts]) == ("done", [20, 20, 20])
    with sites.serve(sites.POSTGRESQL) as manual:
        async with roost.connect(site.discovery_url) as client:
            crawl = await client.crawl(f"{manual}index.html", depth=2)
        assert tuple(map(len, sites.own_levels(crawl.levels, manual))) == sites.level_sizes(sites.POSTGRESQL)
    for name in reversed(site.parts):
        assert await site.parts[name].terminate() == 0, f"{name}: {site.complaints()}"
    assert "Traceback" not in site.complaints()
    assert " ERROR " not in site.complaints()


async def test_twenty_clients_crawl_twenty_sites_at_once_through_several_of_each_part() -> None:
    async with deployed(lock=2, master=2, worker=3, gateway=3) as site, twenty_sites() as port:

        async def crawl(number: int) -> list[list[str]]:
            async with roost.connect(site.discovery_url) as client:
                return (await client.crawl(f"http://127.0.3.{number}:{port}/", depth=2)).levels

        found = await asyncio.gather(*map(crawl, range(1, 21)))
        assert found == [levels_of(number, port) for number in range(1, 21)]
        for name in reversed(site.parts):
            assert await site.parts[name].terminate() == 0, f"{name}: {site.complaints()}"
        assert "Traceback" not in site.complaints()


def levels_of(number: int, port: int) -> list[list[str]]:
    """What a crawl of site `number` finds: its pages have links back, and one to the next site."""
    here, there = (f"http://127.0.3.{each}:{port}" for each in (number, number + 1))
    pages = [f"{here}/p{page}" for page in range(3 + number % 5)]
    leaves = [f"{page}/q{leaf}" for page in pages for leaf in range(2 + number % 7)]
    return [[f"{here}/"], [*pages, f"{there}/"], leaves]


@asynccontextmanager
async def twenty_sites() -> AsyncIterator[int]:
    """The port at which 127.0.3.1 to 127.0.3.20 each serve a site of their own."""

    async def page(request: web.Request) -> web.Response:
        number, port = int(str(request.url.host).rpartition(".")[2]), int(request.url.port or 80)
        _, pages, leaves = levels_of(number, port)
        found = pages if request.path == "/" else [leaf for leaf in leaves if leaf.startswith(f"{request.url}/")]
        text = "".join(f'<a href="{link}">{link}</a>' for link in [*found, "/"])
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.3.1", 0).start()
        port = int(runner.addresses[0][1])
        for number in range(2, 22):
            await web.TCPSite(runner, f"127.0.3.{number}", port).start()
        yield port
    finally:
        await runner.cleanup()
