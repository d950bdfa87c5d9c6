"""The worker's face of the crawl: a page's task becomes a page's result.

A page that is kept and young enough costs no request; an older one is asked for only if it has changed. What is
fetched once is fetched for all who wait for it at the time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from msgspec import structs

from roost.backend.kinds.api import RetryLater, RunnerTools
from roost.backend.kinds.crawl.cached_page import CachedPage, CacheEntry
from roost.backend.kinds.crawl.fetch.fetcher import (
    NOT_MODIFIED,
    Fetched,
    Fetcher,
    NotFetched,
    Reading,
    media_type,
)
from roost.backend.kinds.crawl.html.links import Links, page_links
from roost.backend.kinds.crawl.html.selection import BadSelector, extract
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.backend.kinds.crawl.page_cache import PageCache
from roost.backend.kinds.crawl.page_tasks import (
    Detail,
    PageResult,
    PageTask,
    Source,
    Wants,
    read_page_task,
)
from roost.backend.kinds.crawl.politeness.host_coordinator import HostCoordinator
from roost.backend.kinds.crawl.politeness.host_limits import HostLimits
from roost.backend.kinds.crawl.politeness.robots import product_token
from roost.backend.kinds.crawl.politeness.robots_cache import RobotsCache
from roost.backend.kinds.crawl.politeness.worker_ring import WorkerRing
from roost.backend.kinds.crawl.reasons import BAD_SELECTOR, TOO_SLOW, Failed, Skipped
from roost.backend.kinds.crawl.sandbox import ResourceLimitExceeded, SandboxPool
from roost.backend.kinds.crawl.single_flight import SingleFlight
from roost.backend.kinds.crawl.sitemaps.sitemap_parser import (
    BadSitemap,
    Sitemap,
    is_compressed,
    read_sitemap,
)
from roost.wire.codec import pack

INLINE_BYTES = 64 * 1024
"""Pages up to this size are read at once: in a millisecond, or 0.1 s when they are made to be slow. Bigger ones go to a
thread, so that heartbeats go on."""
AWAITED_S = 0.5
"""When to look again for a page that another worker is fetching."""
INLINE_SITEMAP_BYTES = 64 * 1024
"""Sitemaps up to this size take a few milliseconds; bigger ones, and all that are compressed, go to the workshop."""
SITEMAP_S = 10.0
SELECT_S = 5.0
"""For all that is to be extracted from a page, whose reader's time is limited; a page of 100 KB takes 0.1 s."""
_CHECKED, _SITEMAPS, _SELECTED = b"checked", b"sitemaps", b"selected"
"""Where pages are kept of which only that they are there is known, sitemaps, and pages with what was extracted."""


class CrawlRunner:
    """Fetches pages and lists their links."""

    def __init__(self, tools: RunnerTools) -> None:
        self._options: CrawlOptions = tools.options or CrawlOptions()
        self._clock = tools.clock
        self._fetcher = Fetcher(self._options)
        name = secrets.token_bytes(8)
        self._shelf = PageCache(tools.cache, tools.clock, self._options.realm, name)
        turns = HostCoordinator(tools.cache, tools.clock, name, WorkerRing(tools.name or name.hex(), tools.workers))
        self._hosts = HostLimits(turns, tools.clock, self._options.at_once_per_host)
        self._permits = RobotsCache(
            tools.cache,
            tools.clock,
            self._fetcher,
            product_token(self._options.user_agent),
            self._options.realm,
        )
        self._flights: SingleFlight[PageResult] = SingleFlight()
        self._workshop = SandboxPool()

    async def start(self) -> None:
        """Open the pool of connections."""
        await self._fetcher.start()

    async def run(self, payload: bytes, deadline_s: float) -> bytes:
        """A packed `PageResult` for a packed `PageTask`. Raises DecodeError, Later."""
        task = read_page_task(payload)
        if task.wants is not None and task.wants.source is Source.SITE:
            return pack(PageResult(task.url, maps=await self._sitemaps(task.url)))
        for shelf in self._shelves(task.wants):
            entry = await shelf.find(task.url)
            answer = self._answer(task, entry)
            if answer is not None:
                return pack(answer)
        limit_s = min(deadline_s, self._options.page_timeout_s)
        fetch = partial(self._fetch, task, shelf, entry, limit_s)
        return pack(await self._flights.do((task.url, task.bounds, task.wants), fetch))

    async def stop(self) -> None:
        """Close all connections; fine to call twice."""
        await self._hosts.stop()
        await self._workshop.stop()
        await self._fetcher.stop()

    def _answer(self, task: PageTask, entry: CacheEntry) -> PageResult | None:
        """What is kept, if it will do."""
        if entry.page is None or not entry.page.is_fresh(task, self._clock.wall()):
            return None
        return entry.page.answer(task.url, task.bounds, task.wants)

    async def _fetch(self, task: PageTask, shelf: PageCache, entry: CacheEntry, limit_s: float) -> PageResult:
        if shelf.is_awaited(entry) or (task.wants is not None and task.wants.select and self._workshop.is_full):
            raise RetryLater(AWAITED_S)
        now, known = self._clock.wall(), entry.page
        visit = partial(self._visit, task.url, shelf, entry)
        try:
            page = await self._fetcher.fetch(task.url, task.bounds, limit_s, known, visit, _reading(task.wants))
            kept = await self._kept(page, known, now, task.wants)
            if page.can_keep:
                await shelf.keep(task.url, kept)
        except NotFetched as problem:
            again_s = await self._hosts.again_in(task.url, problem)
            if again_s is not None:
                raise RetryLater(again_s) from problem
            return PageResult(problem.url, problem.status, problem.reason)
        finally:
            await shelf.give_up(task.url, entry)
        self._hosts.answered(task.url)
        answer = kept.answer(task.url, task.bounds, task.wants)
        assert answer is not None, "it was fetched within these bounds"
        return answer

    @asynccontextmanager
    async def _visit(
        self, start: str, shelf: PageCache, entry: CacheEntry, url: str, number: int
    ) -> AsyncIterator[None]:
        """Around each request on the way from `start`."""
        delay_s = robots_at = 0.0
        if not self._options.ignores_robots:
            permit = await self._permits.of(url)
            if not await permit.allows(url):
                raise NotFetched(Skipped.ROBOTS, url)
            delay_s, robots_at = permit.rules.delay_s, permit.kept.asked_at
        async with self._hosts.visit(url, number, delay_s, robots_at):
            if not number:
                await shelf.announce(start, entry)
            yield

    def _shelves(self, wants: Wants | None) -> list[PageCache]:
        """Where what is wanted may be kept; on the last of them it will be."""
        if wants is None or not (wants.check or wants.source or wants.select):
            return [self._shelf]
        if wants.source:
            return [self._shelf.aspect(_SITEMAPS)]
        if wants.select:
            return [self._shelf.aspect(_SELECTED + pack(wants.select))]
        return [self._shelf, self._shelf.aspect(_CHECKED)]

    async def _sitemaps(self, url: str) -> list[str]:
        """Those that the site of `url` names in its robots.txt."""
        try:
            return (await self._permits.of(url)).kept.maps
        except NotFetched:
            return []

    async def _kept(self, page: Fetched, known: CachedPage | None, now: float, wants: Wants | None) -> CachedPage:
        """What is to be known of a page that was asked for at `now`."""
        if known is not None and page.status == NOT_MODIFIED:
            return structs.replace(known, checked_at=now, hops=page.hops)
        if wants is not None and wants.source:
            found = await self._read_sitemap(page)
            return CachedPage(
                now, page.hops, page.status, found.pages, found.cut, page.etag, page.modified, maps=found.maps
            )
        links = await _links(page)
        unfollowed = [] if self._options.ignores_robots else links.unfollowed
        detail = Detail(media_type(page.content_type), page.size_bytes, page.time_s, links.canonical)
        if wants is not None and wants.select and page.body is not None:
            detail = await self._with_selected(detail, page, dict(wants.select))
        return CachedPage(
            now, page.hops, page.status, links.urls, links.cut, page.etag, page.modified, unfollowed, detail
        )

    async def _with_selected(self, detail: Detail, page: Fetched, select: dict[str, str]) -> Detail:
        try:
            work = (page.body or b"", page.content_type, page.url, select)
            return structs.replace(detail, selected=await self._workshop.do(SELECT_S, extract, *work))
        except ResourceLimitExceeded:
            return structs.replace(detail, trouble=TOO_SLOW)
        except BadSelector:
            return structs.replace(detail, trouble=BAD_SELECTOR)

    async def _read_sitemap(self, page: Fetched) -> Sitemap:
        if page.body is None:
            return Sitemap([], [])
        try:
            if len(page.body) <= INLINE_SITEMAP_BYTES and not is_compressed(page.body):
                return read_sitemap(page.body, page.url)
            return await self._workshop.do(SITEMAP_S, read_sitemap, page.body, page.url)
        except (BadSitemap, ResourceLimitExceeded) as problem:
            raise NotFetched(Failed.BAD_SITEMAP, page.url, page.status) from problem


def _reading(wants: Wants | None) -> Reading:
    if wants is None:
        return Reading.PAGE
    if wants.source:
        return Reading.FILE
    return Reading.NOTHING if wants.check else Reading.PAGE


async def _links(page: Fetched) -> Links:
    if page.body is None:
        return Links([], cut=False)
    if len(page.body) <= INLINE_BYTES:
        return page_links(page.body, page.content_type, page.url)
    return await asyncio.to_thread(page_links, page.body, page.content_type, page.url)
