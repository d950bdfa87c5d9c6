"""A crawl of a real site finds what an independent search over its files finds."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from backend.kinds.api import PlannedTask, RunnerTools
from backend.kinds.crawl.kind import Crawl
from backend.kinds.crawl.options import CrawlOptions
from backend.kinds.crawl.result import CrawlResult, read_result
from backend.kinds.crawl.spec import CrawlSpec
from tests.kinds.caches import NoCache
from tests.sites import POSTGRESQL, SQLITE, breadth_first, own_levels, serve
from wire.clock import SYSTEM_CLOCK
from wire.messages.outcome import Outcome

LOOPBACK = CrawlOptions(allow_private=("127.0.0.0/8",))


async def crawl(spec: CrawlSpec, at_a_time: int = 16) -> CrawlResult:
    """Plan and runner without the system between them; results come back in a random order."""
    kind = Crawl()
    plan = kind.plan(kind.unpack_spec(kind.pack_spec(spec)))
    runner = kind.runner(RunnerTools(NoCache(), SYSTEM_CLOCK, LOOPBACK))
    await runner.start()

    async def run(task: PlannedTask) -> tuple[int, bytes]:
        return task.number, await runner.run(task.payload, task.deadline_s)

    try:
        while not plan.is_over():
            done = await asyncio.gather(*map(run, plan.next_tasks(at_a_time)))
            for number, data in random.sample(done, len(done)):
                plan.fold(number, data)
    finally:
        await runner.stop()
    assert plan.failure() is None
    return read_result(plan.summary(Outcome.DONE, 1.0), plan.parts())


@pytest.mark.parametrize("folder", [POSTGRESQL, SQLITE], ids=["postgresql", "sqlite"])
async def test_levels_equal_a_search_over_the_files(folder: Path) -> None:
    expected = breadth_first(folder, "index.html", 2)
    assert len(expected[2]) > 500
    with serve(folder) as site:
        result = await crawl(CrawlSpec(site + "index.html", depth=2))
    assert own_levels(result.levels, site) == expected
    assert result.outcome is Outcome.DONE
    assert not result.truncated
    assert result.fetched + len(result.failed) + len(result.skipped) == len(result.levels[0]) + len(result.levels[1])
    assert {reason for _, reason in result.skipped} <= {"scope"}


async def test_a_crawl_to_the_end_of_a_site_with_broken_links_equals_a_search_over_the_files() -> None:
    with serve(SQLITE) as site:
        result = await crawl(CrawlSpec(site + "index.html", depth=32))
    expected = breadth_first(SQLITE, "index.html", 32)
    found = own_levels(result.levels, site)
    assert found == [level for level in expected if level]
    broken = [url for level in found for url in level if not (SQLITE / url.partition("?")[0]).exists()]
    assert sorted(url.removeprefix(site) for url, reason in result.failed) == sorted(broken)
    assert {reason for _, reason in result.failed} == {"status_404"}
