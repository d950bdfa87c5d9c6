"""A crawl of a real site finds what an independent search over its files finds."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from aiohttp import web

from bench.support.sites import (
    APACHE,
    GIT,
    POSTGRESQL,
    PYTHON,
    SQLITE,
    breadth_first,
    own_levels,
    serve,
)
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.wire.messages.outcome import Outcome
from tests.kinds.crawl.crawling import crawl, runners
from tests.kinds.crawl.site import Answer, page
from tests.kinds.crawl.site import serve as serve_pages

pytestmark = [pytest.mark.sites, pytest.mark.slow]


def moved(target: str) -> web.Response:
    return web.Response(status=301, headers={"Location": target})


@pytest.mark.parametrize(
    "folder",
    [POSTGRESQL, SQLITE, PYTHON, APACHE, GIT],
    ids=["postgresql", "sqlite", "python", "apache", "git"],
)
async def test_levels_equal_a_search_over_the_files(folder: Path) -> None:
    expected = breadth_first(folder, "index.html", 2)
    assert sum(map(len, expected)) > 200
    with serve(folder) as site:
        async with runners() as workers:
            result = await crawl(CrawlSpec(site + "index.html", depth=2), workers)
    assert own_levels(result.levels, site) == expected
    assert result.outcome is Outcome.DONE
    assert not result.truncated
    assert result.fetched + len(result.failed) + len(result.skipped) == len(result.levels[0]) + len(result.levels[1])
    assert {reason for _, reason in result.skipped} <= {"scope"}
    broken = {url for url, reason in result.failed if reason == "status_404"}
    assert broken == {url for url, _ in result.failed} == {url for url in broken if not exists(folder, url, site)}


def exists(folder: Path, url: str, site: str) -> bool:
    return (folder / unquote(url.removeprefix(site).partition("?")[0])).exists()


async def test_a_site_of_redirects_loops_and_errors_is_gone_through_once() -> None:
    """Every folder redirects to itself with a slash, pages link back, to themselves and to what is missing."""
    pages: dict[str, Answer] = {
        "": page("a", "b/", "self", "gone"),
        "self": page("self", "/", "#x", "a#y"),
        "a": moved("/a/"),
        "a/": page("../b", "../a", "b", "up/"),
        "a/b": moved("/b"),
        "a/up/": moved("/"),
        "b": moved("/b/"),
        "b/": page("../a/b", "../round", "/b"),
        "round": moved("/round-again"),
        "round-again": moved("/round"),
    }
    async with serve_pages(pages) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=10), workers)
        paths = [[url.removeprefix(site.url) for url in level] for level in result.levels]
        assert paths == [[""], ["a", "b/", "self", "gone"], ["b", "a/b", "a/up/", "round"]]
        reasons = [(url.removeprefix(site.url), reason) for url, reason in result.failed]
        assert sorted(reasons) == [("gone", "status_404"), ("round", "redirects")]


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
