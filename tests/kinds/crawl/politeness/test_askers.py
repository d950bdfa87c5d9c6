"""The eight of a host over real processes and a real Redis: one is stopped and goes on, one is killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

import pytest
from aiohttp import web

from bench.support.services import redis
from roost.wire.clock import SYSTEM_CLOCK
from tests.kinds.crawl.politeness.asker import BEGAN
from tests.kinds.crawl.site import page, serve

pytestmark = [pytest.mark.engines, pytest.mark.slow]

TAKES_S = 0.3
DEADLINE_S = 60.0


class Watch:
    """A page at any path; which process has how many requests in flight, by the first word of the path.

    A request of `stopped` that began before `went_on_at` and arrives later does not count: the process was stopped
    while it sent the request, which no lease can prevent. (The time is that of the machine's monotonic clock.)
    """

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most = 0
        self.served: Counter[str] = Counter()
        self.went_on_at = float("inf")
        self.belated = 0
        self._changed = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        name = request.path.split("/")[1]
        if name == "stopped" and float(request.headers[BEGAN]) < self.went_on_at <= SYSTEM_CLOCK.monotonic():
            self.belated += 1
            return page()
        self.now[name] += 1
        self.most = max(self.most, self.now.total())
        self._changed.set()
        await asyncio.sleep(TAKES_S)
        self.now[name] -= 1
        self.served[name] += 1
        return page()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def askers(*names: str) -> AsyncIterator[tuple[Watch, dict[str, subprocess.Popen[bytes]]]]:
    """A process of each name that asks the same host."""
    watch = Watch()
    async with serve({}) as site:
        site.pages = _Everything(watch)
        with ExitStack() as stack:
            made = {}
            for name in names:
                made[name] = stack.enter_context(_asker(f"{site.url}{name}/"))
                stack.callback(made[name].kill)
            yield watch, made


def _asker(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.kinds.crawl.politeness.asker", redis().url, url])


class _Everything(dict):  # type: ignore[type-arg]
    """The same answer for each path."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def get(self, path: str, default: object = None) -> object:
        return self._watch.answer if path != "robots.txt" else default


async def test_a_worker_that_is_stopped_and_goes_on_does_not_ask_by_its_old_share() -> None:
    async with askers("stopped", "other") as (watch, processes):
        await watch.until(lambda: min(watch.now["stopped"], watch.now["other"]) >= 3)
        processes["stopped"].send_signal(signal.SIGSTOP)
        await watch.until(lambda: watch.now["other"] == 8)
        before = watch.served["stopped"]
        watch.went_on_at = SYSTEM_CLOCK.monotonic()
        processes["stopped"].send_signal(signal.SIGCONT)
        await watch.until(lambda: watch.served["stopped"] >= before + 30)
        assert watch.most == 8
        assert watch.belated <= 8


async def test_what_a_killed_worker_had_is_free_for_the_others_after_a_while() -> None:
    async with askers("killed", "one", "two") as (watch, processes):
        await watch.until(lambda: min(watch.now[name] for name in processes) >= 2)
        processes["killed"].kill()
        await watch.until(lambda: watch.now["one"] + watch.now["two"] == 8)
        assert watch.most == 8
