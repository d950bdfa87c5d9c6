"""Plan and runners without the system between them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from roost.backend.cache.port import Cache
from roost.backend.kinds.api import PlannedTask, RetryLater, RunnerTools
from roost.backend.kinds.crawl.kind import Crawl
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.backend.kinds.crawl.output.crawl_result import CrawlResult, read_result
from roost.backend.kinds.crawl.page_tasks import PageResult, PageTask, read_page_result
from roost.backend.kinds.crawl.politeness.host_lease import SURE_S
from roost.backend.kinds.crawl.runner import CrawlRunner
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.backend.kinds.crawl.urls import Bounds, Scope
from roost.wire.clock import SYSTEM_CLOCK, Clock, SystemClock
from roost.wire.codec import pack
from roost.wire.messages.outcome import Outcome
from tests.kinds.crawl.politeness.caches import NoCache

LOOPBACK = CrawlOptions(allow_private=("127.0.0.0/8",))


class LaterClock(SystemClock):
    """The system's clocks, of which the wall clock can be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def wall(self) -> float:
        return SYSTEM_CLOCK.wall() + self.ahead_s


@asynccontextmanager
async def runners(
    count: int = 1,
    cache: Cache | Callable[[], Cache] | None = None,
    options: CrawlOptions = LOOPBACK,
    clock: Clock = SYSTEM_CLOCK,
    known: bool = False,
) -> AsyncIterator[list[CrawlRunner]]:
    """Runners of so many workers that share a cache, or the content of those that `cache` makes for each.

    They are `known` to each other by discovery, too. Where the cache keeps nothing, it has been away for so long that
    all of them have noticed.
    """
    shared = cache or NoCache()
    async with AsyncExitStack() as stack:
        names = [f"worker {number}" for number in range(count)]
        live = tuple(names) if known else ()
        caches = [shared() if callable(shared) else shared for _ in names]
        for each in caches:
            await each.start()
        named = zip(caches, names, strict=True)
        made = [CrawlRunner(RunnerTools(each, clock, options, name, lambda: live)) for each, name in named]
        for runner in made:
            await runner.start()
            if isinstance(shared, NoCache):
                runner._hosts._turns._contact.unanswered(clock.monotonic() - SURE_S)
            stack.push_async_callback(runner.stop)
        yield made


async def patiently(at: Sequence[CrawlRunner], payload: bytes, deadline_s: float = 60.0) -> bytes:
    """The task's result from any of the runners, given again as often as it is held back."""
    while True:
        try:
            return await random.choice(at).run(payload, deadline_s)
        except RetryLater as later:
            await asyncio.sleep(later.after_s)


async def visit(
    at: Sequence[CrawlRunner], url: str, max_age_s: float = 0.0, scope: Scope = Scope.HOST, since: float = float("inf")
) -> PageResult:
    """One page."""
    task = PageTask(url, Bounds.around(url, scope), max_age_s, since)
    return read_page_result(await patiently(at, pack(task)))


async def crawl(spec: CrawlSpec, at: Sequence[CrawlRunner], at_a_time: int = 16) -> CrawlResult:
    """A whole crawl; results come back in a random order."""
    kind = Crawl()
    plan = kind.plan(kind.unpack_spec(kind.pack_spec(spec)), since=float("inf"))

    async def run(task: PlannedTask) -> tuple[int, bytes]:
        return task.number, await patiently(at, task.payload, task.deadline_s)

    while not plan.is_over():
        done = await asyncio.gather(*map(run, plan.next_tasks(at_a_time)))
        for number, data in random.sample(done, len(done)):
            plan.fold(number, data)
    assert plan.failure() is None, plan.failure()
    return read_result(plan.summary(Outcome.DONE, 1.0), plan.parts())
