"""The worker's face of the crawl: a page's task becomes a page's result."""

from __future__ import annotations

import asyncio

from backend.kinds.api import RunnerTools
from backend.kinds.crawl.fetch import Fetched, Fetcher, NotFetched
from backend.kinds.crawl.links import Links, page_links
from backend.kinds.crawl.options import CrawlOptions
from backend.kinds.crawl.pages import PageResult, read_page_task
from wire.codec import pack

INLINE_BYTES = 256 * 1024
"""Pages up to this size take a few milliseconds at once; bigger ones go to a thread, so that heartbeats go on."""


class CrawlRunner:
    """Fetches pages and lists their links."""

    def __init__(self, tools: RunnerTools) -> None:
        self._options: CrawlOptions = tools.options or CrawlOptions()
        self._fetcher = Fetcher(self._options)

    async def start(self) -> None:
        """Open the pool of connections."""
        await self._fetcher.start()

    async def run(self, payload: bytes, deadline_s: float) -> bytes:
        """A packed `PageResult` for a packed `PageTask`. Raises DecodeError."""
        task = read_page_task(payload)
        try:
            page = await self._fetcher.fetch(task.url, task.bounds, min(deadline_s, self._options.page_timeout_s))
        except NotFetched as problem:
            return pack(PageResult(problem.url, problem.status, problem.reason))
        links = await _links(page)
        return pack(PageResult(page.url, page.status, None, links.urls, links.cut))

    async def stop(self) -> None:
        """Close all connections; fine to call twice."""
        await self._fetcher.stop()


async def _links(page: Fetched) -> Links:
    if page.body is None:
        return Links([page.target] if page.target else [], cut=False)
    if len(page.body) <= INLINE_BYTES:
        return page_links(page.body, page.content_type, page.url)
    return await asyncio.to_thread(page_links, page.body, page.content_type, page.url)
