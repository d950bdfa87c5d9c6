"""A result of a hundred thousand URLs comes through processes none of which ever holds it whole but its master."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

import roost
from tests.system.test_processes import Site, site

pytestmark = pytest.mark.slow

__all__ = ["site"]

BRANCHES, LEAVES = 316, 320
RESULT_MIB = 4.8
"""Of text, as the client gets it."""


@asynccontextmanager
async def wide_site() -> AsyncIterator[str]:
    """A start page with `BRANCHES` links to pages of `LEAVES` links each."""

    async def page(request: web.Request) -> web.Response:
        branch = request.match_info.get("branch")
        count, path = (
            (BRANCHES, "/{0}/index.html") if branch is None else (LEAVES, f"/{branch}/documents/an-article-{{0}}")
        )
        links = "".join(f'<a href="{path.format(number)}">{number}</a>' for number in range(count))
        return web.Response(text=links, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/{branch}/index.html", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def peak_mib(process_id: int) -> float:
    """The most memory that the process has had in RAM at any time."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


async def test_a_crawl_of_a_hundred_thousand_urls_needs_bounded_memory_everywhere(site: Site) -> None:
    async with wide_site() as url, roost.connect(site.discovery_url) as client:
        await client.crawl(url, depth=1)
        before = {name: peak_mib(process.child.pid) for name, process in site.parts.items()}
        for again in range(2):
            result = await client.crawl(f"{url}?{again}", depth=2)
            assert [len(level) for level in result.levels] == [1, BRANCHES, BRANCHES * LEAVES]
            assert sum(len(found) for level in result.levels for found in level) > RESULT_MIB * 2**20
        grown = {name: peak_mib(process.child.pid) - before[name] for name, process in site.parts.items()}
    master = grown.pop("master 1")
    assert max(grown.values()) < RESULT_MIB, f"nobody but the master sees more than parts: {grown}"
    assert master < 10 * RESULT_MIB, "a URL is one string and two references"
