"""``python -m bench takeover``: how long a job waits for another master after its own is killed (-9), and what is
repeated.

Several masters crawl slow sites, a separate one for each job. One master after the other is killed and replaced, each
after every job has finished a level since its last takeover: a job that loses two masters in a row might have caused
that, so it waits for a master that holds no other jobs (P16). For each job of a killed master it measures the time
until another master held it by the store's log, and until the site was asked for the next page. The site's log shows
which pages were fetched twice. Every crawl must find all pages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

import aiohttp
import msgspec
import uvloop
from aiohttp import web

import roost
from bench.report import Report
from bench.support import services
from bench.support.components import Process
from bench.support.lane import Engines, Lane

GOAL_S = 8.0
GOAL_SHARE = 0.05
LEVELS, WIDTH, PAGE_S = 32, 4, 0.4
"""A crawl goes level by level, so that it takes at least 12 s."""
LOOK_S = 0.1
TAKEN_WITHIN_S = 60.0
JOBS_OF = "SELECT coalesce(json_agg(id), '[]') FROM roost.jobs WHERE state = 'running' AND master = '{master}'"
SPEC_OF = "SELECT encode(spec, 'hex') FROM roost.jobs WHERE id = {job}"
TAKEN_COUNT = "SELECT count(*) FROM roost.jobs WHERE state = 'running' AND attempt > 0"
STATE_OF = "SELECT state FROM roost.jobs WHERE id = {job}"
TAKEN = """
SELECT coalesce(json_agg(json_build_array(job, at, state)), '[]') FROM (
  SELECT DISTINCT ON (job) job, at, state FROM audit.moves
  WHERE job IN ({jobs}) AND at > {since} ORDER BY job, at) AS first
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--rounds", type=int, default=30, help="masters killed [30]")
    parser.add_argument("--masters", type=int, default=4, help="side by side [4]")
    parser.add_argument("--jobs", type=int, default=12, help="in flight [12]")


class Sites:
    """One site for each job in flight, each with its own address; every crawl of a site finds new pages."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._urls: list[str] = []
        self.asked: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        """When each page was requested, by site and crawl."""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve the sites until the context ends."""
        app = web.Application()
        app.router.add_get(r"/{crawl:\d+}/{level:\d+}/{page:\d+}.html", self._page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            for number in range(self._count):
                address = f"127.0.2.{number + 1}"
                await web.TCPSite(runner, address, 0).start()
                self._urls.append(f"http://{address}:{runner.addresses[-1][1]}")
            yield
        finally:
            await runner.cleanup()

    def levels(self, number: int, crawl: int) -> list[list[str]]:
        """Return the levels that a crawl of a site must find."""
        return [
            [f"{self._urls[number]}/{crawl}/{level}/{page}.html" for page in range(WIDTH if level else 1)]
            for level in range(LEVELS + 1)
        ]

    async def _page(self, request: web.Request) -> web.Response:
        url = str(request.url)
        self.asked[url.rsplit("/", 2)[0]].append((time.time(), url))
        await asyncio.sleep(PAGE_S)
        level = int(request.match_info["level"]) + 1
        links = "".join(f'<a href="../{level}/{page}.html">{page}</a>' for page in range(WIDTH))
        return web.Response(text=links, content_type="text/html")


@dataclass
class Found:
    """The measurements: seconds from the kill, one for each job that the killed masters held."""

    held_s: list[float] = field(default_factory=list)
    goes_on_s: list[float] = field(default_factory=list)
    crawls_taken: set[str] = field(default_factory=set)
    crawls_done: int = 0
    killed: int = 0


class Takeover:
    """Kills one master after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._sites = Sites(options.jobs)
        self._masters: dict[str, Process] = {}
        self._is_over = False
        self.found = Found()

    async def run(self) -> None:
        """Run all rounds."""
        counts = {"discovery": 1, "lock": 2, "master": 0, "worker": 2, "gateway": 1}
        self._lane = lane = Lane(Engines(services.rabbitmq(), services.postgres(), services.redis()), counts=counts)
        try:
            await lane.open()
            for _ in range(self._options.masters):
                await self._boot_master()
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                await stack.enter_async_context(self._sites.serve())
                for number in range(self._options.jobs):
                    group.create_task(self._crawl_on(number))
                for turn in range(self._options.rounds):
                    print(f"round {turn + 1} of {self._options.rounds}", file=sys.stderr, flush=True)
                    await self._round()
                self._is_over = True
        finally:
            await lane.close()

    async def _crawl_on(self, number: int) -> None:
        async with roost.connect(self._lane.urls, wait=True) as client:
            crawl = 0
            while not self._is_over:
                crawl += 1
                expected = self._sites.levels(number, crawl)
                result = await client.crawl(expected[0][0], depth=LEVELS)
                if list(map(sorted, result.levels)) != list(map(sorted, expected)):
                    raise AssertionError(f"crawl {crawl} of site {number} found {list(map(len, result.levels))}")
                self.found.crawls_done += 1

    async def _boot_master(self) -> None:
        """Start one more master; return when it is in the registry."""
        known = await self._names()
        process = await self._lane.boot("master")
        while not (new := await self._names() - known):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        self._masters[new.pop()] = process

    async def _names(self) -> set[str]:
        async with aiohttp.ClientSession() as http, http.get(f"{self._lane.urls[0]}/v1/components") as answer:
            components = (await answer.json())["components"]
        return {each["incarnation"] for each in components if each["kind"] == "master"}

    async def _sql(self, text: str) -> str:
        return await asyncio.to_thread(self._lane.engines.postgres.sql, self._lane.database, text)

    async def _round(self) -> None:
        """Kill the master with the most jobs, at a random time between two heartbeats; wait until others have them."""
        while await self._sql(TAKEN_COUNT) != "0":  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(random.uniform(0.0, 2.0))
        held = {name: json.loads(await self._sql(JOBS_OF.format(master=name))) for name in self._masters}
        name = max(held, key=lambda each: len(held[each]))
        if not held[name]:
            raise AssertionError("no master holds a job")
        killed_at = time.time()
        await self._lane.kill(self._masters.pop(name))
        self.found.killed += 1
        replacing = asyncio.create_task(self._boot_master())
        await self._follow(held[name], killed_at)
        await replacing

    async def _follow(self, jobs: Sequence[int], killed_at: float) -> None:
        question = TAKEN.format(jobs=", ".join(map(str, jobs)), since=killed_at)
        async with asyncio.timeout(TAKEN_WITHIN_S):
            while len(moves := json.loads(await self._sql(question))) < len(jobs):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        for job, at, state in moves:
            if state == "running":  # or it had ended in the moment before the kill
                self.found.held_s.append(at - killed_at)
                await self._goes_on(job, at, killed_at)

    async def _goes_on(self, job: int, taken_at: float, killed_at: float) -> None:
        """Record when the job's site is asked for the next page."""
        spec = msgspec.msgpack.decode(bytes.fromhex(await self._sql(SPEC_OF.format(job=job))))
        crawl = next(word for word in _words(spec) if word.startswith("http://")).rsplit("/", 2)[0]
        self.found.crawls_taken.add(crawl)
        async with asyncio.timeout(TAKEN_WITHIN_S):
            while not (later := [at for at, _ in self._sites.asked[crawl] if at > taken_at]):
                if await self._sql(STATE_OF.format(job=job)) != "running":
                    return  # every page had been fetched for the master that was killed
                await asyncio.sleep(LOOK_S)
        self.found.goes_on_s.append(min(later) - killed_at)

    def twice(self) -> tuple[int, int]:
        """Return for the crawls that were taken over: repeated page requests, and pages."""
        again = pages = 0
        for crawl in self.found.crawls_taken:
            counts = Counter(url for _, url in self._sites.asked[crawl])
            again += counts.total() - len(counts)
            pages += len(counts)
        return again, pages


def _words(spec: object) -> list[str]:
    """Return every text in a packed spec."""
    if isinstance(spec, dict):
        return [word for value in spec.values() for word in _words(value)]
    if isinstance(spec, list):
        return [word for value in spec for word in _words(value)]
    return [spec] if isinstance(spec, str) else []


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _figures(values: Sequence[float]) -> dict[str, float]:
    return {"jobs": len(values), "median s": median(values), "p99 s": quantile(values, 0.99), "most s": max(values)}


def run(options: argparse.Namespace) -> Report:
    """Measure."""
    measured = Takeover(options)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(measured.run())
    found, (again, pages) = measured.found, measured.twice()
    report = Report(f"Take-over after kill -9 of one of {options.masters} masters, {options.jobs} crawls in flight")
    report.rows.append({"from the kill until": "another master holds the job", **_figures(found.held_s)})
    report.rows.append({"from the kill until": "its site is asked again", **_figures(found.goes_on_s)})
    share = again / pages
    report.remarks.append(f"{found.killed} masters killed; {found.crawls_done} crawls done, all of them complete")
    report.remarks.append(f"pages fetched twice: {again} of {pages} of the crawls taken over, {share:.2%}")
    report.require(f"p99 until another master holds the job under {GOAL_S:g} s", quantile(found.held_s, 0.99) < GOAL_S)
    report.require(f"pages fetched twice under {GOAL_SHARE:.0%}", share < GOAL_SHARE)
    return report
