"""A crawl of real sites through the whole system, against two independent opinions on what it must find."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import roost
from bench.support import sites
from roost.allinone import System, UpSettings, all_in_one
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.errors import JobFailed

pytestmark = [pytest.mark.sites, pytest.mark.slow]

DEPTH = 2
LOOPBACK = {"crawl": CrawlOptions(allow_private=("127.0.0.0/8",))}
SITES = {"postgresql": sites.POSTGRESQL, "sqlite": sites.SQLITE}


@pytest.fixture
async def crawler() -> AsyncIterator[System]:
    async with all_in_one(UpSettings(options=LOOPBACK)) as system:
        yield system


def wget_finds(url: str, folder: Path) -> set[str]:
    """The URLs that wget asks for, two links deep."""
    command = ["wget", "--spider", "-r", f"-l{DEPTH}", "--follow-tags=a,area", "-e", "robots=off", "-nd", url]
    log = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=100, check=False).stderr
    return set(re.findall(r"^--\S+ \S+--  (\S+)", log, re.MULTILINE))


@pytest.mark.parametrize("name", SITES)
async def test_levels_are_those_of_a_search_over_the_files_and_wget_agrees(
    crawler: System, name: str, tmp_path: Path
) -> None:
    folder = SITES[name]
    counts = sites.level_sizes(folder)
    with sites.serve(folder) as site:
        async with roost.connect(crawler.url) as client:
            result = await client.crawl(f"{site}index.html", depth=DEPTH)
        found = sites.own_levels(result.levels, site)
        expected = sites.breadth_first(folder, "index.html", DEPTH)
        by_wget = await asyncio.to_thread(wget_finds, f"{site}index.html", tmp_path)
    assert tuple(map(len, found)) == counts
    assert list(map(set, found)) == list(map(set, expected))
    assert {site + path for level in found for path in level} == by_wget
    assert result.fetched + len(result.failed) == sum(counts[:DEPTH])
    assert not result.truncated


async def test_two_clients_at_once_crawl_different_sites(crawler: System) -> None:
    async def levels(folder: Path) -> tuple[int, ...]:
        with sites.serve(folder) as site:
            async with roost.connect(crawler.url) as client:
                result = await client.crawl(f"{site}index.html", depth=DEPTH)
            return tuple(map(len, sites.own_levels(result.levels, site)))

    found = await asyncio.gather(*(levels(folder) for folder in SITES.values()))
    assert found == [sites.level_sizes(folder) for folder in SITES.values()]


async def test_max_pages_is_exact(crawler: System) -> None:
    with sites.serve(sites.POSTGRESQL) as site:
        async with roost.connect(crawler.url) as client:
            result = await client.crawl(f"{site}index.html", depth=DEPTH, max_pages=17)
    assert (result.fetched, result.truncated) == (17, True)
    assert {reason for _, reason in result.skipped} >= {"limit"}


async def test_a_private_address_is_refused_unless_it_is_allowed() -> None:
    async with all_in_one(UpSettings()) as system, roost.connect(system.url) as client:
        with pytest.raises(JobFailed) as failure:
            await client.crawl("http://127.0.0.1:9/", depth=1)
    assert failure.value.code == "refused_address"
