"""A crawl of a real site finds what an independent search over its files finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.kinds.crawl.spec import CrawlSpec
from tests.kinds.crawling import crawl, runners
from tests.sites import POSTGRESQL, SQLITE, breadth_first, own_levels, serve
from wire.messages.outcome import Outcome


@pytest.mark.parametrize("folder", [POSTGRESQL, SQLITE], ids=["postgresql", "sqlite"])
async def test_levels_equal_a_search_over_the_files(folder: Path) -> None:
    expected = breadth_first(folder, "index.html", 2)
    assert len(expected[2]) > 500
    with serve(folder) as site:
        async with runners() as workers:
            result = await crawl(CrawlSpec(site + "index.html", depth=2), workers)
    assert own_levels(result.levels, site) == expected
    assert result.outcome is Outcome.DONE
    assert not result.truncated
    assert result.fetched + len(result.failed) + len(result.skipped) == len(result.levels[0]) + len(result.levels[1])
    assert {reason for _, reason in result.skipped} <= {"scope"}


async def test_a_crawl_to_the_end_of_a_site_with_broken_links_equals_a_search_over_the_files() -> None:
    with serve(SQLITE) as site:
        async with runners() as workers:
            result = await crawl(CrawlSpec(site + "index.html", depth=32), workers)
    expected = breadth_first(SQLITE, "index.html", 32)
    found = own_levels(result.levels, site)
    assert found == [level for level in expected if level]
    broken = [url for level in found for url in level if not (SQLITE / url.partition("?")[0]).exists()]
    assert sorted(url.removeprefix(site) for url, reason in result.failed) == sorted(broken)
    assert {reason for _, reason in result.failed} == {"status_404"}
