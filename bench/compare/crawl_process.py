"""``python -m bench.compare.crawl_process ROLE …``: one process of a crawling Roost system, for `bench.compare.crawl`.

The roles are:

* ``alone``: the whole system and a client;
* ``rest BROKER CACHE``: the whole system and a client, without a worker; it prints the URL of discovery;
* ``hall BROKER CACHE``: the same without a master too;
* ``worker BROKER CACHE DISCOVERY`` and ``master BROKER CACHE DISCOVERY``: the missing components.

BROKER, CACHE and DISCOVERY are URLs. Each line ``URL DEPTH MAX_AGE`` on standard input of the process with the client
starts a crawl, and the process answers with a JSON object. Robots.txt is not requested.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvloop

import roost
from roost.allinone import LOOPBACK, UpSettings, all_in_one
from roost.backend.assembly import Site, gateway_parts, lock_parts, master_parts, worker_parts
from roost.backend.engines import Engines, EngineUrls
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.backend.kinds.registry import load
from roost.backend.store.port import StoreLimits
from roost.discovery.server import Discovery
from roost.gateway.settings import Settings
from roost.wire.codec import to_json
from roost.wire.service import ServiceGroup
from roost.wire.tokens import Keyring

OPTIONS = {"crawl": CrawlOptions(allow_private=("127.0.0.0/8",), ignores_robots=True)}
SLOTS = 64


@asynccontextmanager
async def _alone() -> AsyncIterator[str]:
    async with all_in_one(UpSettings(options=OPTIONS)) as system:
        yield system.url


@asynccontextmanager
async def _running(stack: ServiceGroup) -> AsyncIterator[None]:
    await stack.start()
    try:
        yield
    finally:
        await stack.stop()


def _site(broker: str, cache: str, discovery: Callable[[], str]) -> Site:
    engines = Engines(EngineUrls(broker=broker, cache=cache), StoreLimits())
    return Site(lambda: [discovery()], Keyring.random(), engines, load())


@asynccontextmanager
async def _rest(broker: str, cache: str, with_master: bool = True) -> AsyncIterator[str]:
    site = _site(broker, cache, lambda: discovery.url)
    discovery = Discovery(LOOPBACK, 0, site.keys)
    gateway, _ = gateway_parts(site, Settings(host=LOOPBACK, port=0, drain_s=0.1), "", require_ticket=False)
    master = master_parts(site, SLOTS) if with_master else []
    async with _running(ServiceGroup([discovery, *lock_parts(site, LOOPBACK, 0), *master, *gateway])):
        yield discovery.url


async def _lines() -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        yield line


async def _crawl(url: str) -> None:
    async with roost.connect(url) as client:
        print(url, flush=True)
        async for line in _lines():
            start, depth, max_age_s = line.split()
            began = time.perf_counter()
            result = await client.crawl(start, depth=int(depth), max_age_s=float(max_age_s), max_pages=100_000)
            took_s = time.perf_counter() - began
            said = {"took_s": took_s, "levels": result.levels, "fetched": result.fetched, "failed": len(result.failed)}
            print(to_json(said).decode(), flush=True)


async def _part(stack: ServiceGroup) -> None:
    async with _running(stack):
        print("ready", flush=True)
        async for _ in _lines():
            pass


async def main(role: str, *urls: str) -> None:
    """Until standard input ends."""
    match role, *urls:
        case ["alone"]:
            async with _alone() as url:
                await _crawl(url)
        case ["rest" | "hall", broker, cache]:
            async with _rest(broker, cache, role == "rest") as url:
                await _crawl(url)
        case ["worker", broker, cache, discovery]:
            await _part(ServiceGroup(worker_parts(_site(broker, cache, lambda: discovery), SLOTS, OPTIONS)))
        case ["master", broker, cache, discovery]:
            await _part(ServiceGroup(master_parts(_site(broker, cache, lambda: discovery), SLOTS)))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
