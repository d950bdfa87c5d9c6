"""Runs page tasks in a worker: a page's task becomes a page's result.

A cached page that is young enough costs no request; an older one is requested conditionally (RFC 9110 section 13.1).
Concurrent tasks for the same page share one fetch.
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
"""Pages up to this size are parsed on the event loop: in a millisecond, or 0.1 s when they are made to be slow. Bigger
ones are parsed in a thread, so that heartbeats continue.
"""
AWAITED_S = 0.5
"""When to check again for a page that another worker is fetching."""
INLINE_SITEMAP_BYTES = 64 * 1024
"""Sitemaps up to this size take a few milliseconds; bigger ones, and all compressed ones, go to the sandbox
processes.
"""
SITEMAP_S = 10.0
SELECT_S = 5.0
"""Time limit for all selectors of a page, since parsing hostile pages can take long; a page of 100 KB takes 0.1 s."""
_CHECKED, _SITEMAPS, _SELECTED = b"checked", b"sitemaps", b"selected"
"""Names of separate caches: pages that were only checked for existence, sitemaps, and pages with extracted values."""


class CrawlRunner:
    """Fetches pages and lists their links."""

    def __init__(self, tools: RunnerTools) -> None:
        self._options: CrawlOptions = tools.options or CrawlOptions()
        self._clock = tools.clock
        self._fetcher = Fetcher(self._options)
        name = secrets.token_bytes(8)
        self._page_cache = PageCache(tools.cache, tools.clock, self._options.realm, name)
        coordinator = HostCoordinator(
            tools.cache, tools.clock, name, WorkerRing(tools.name or name.hex(), tools.workers)
        )
        self._hosts = HostLimits(coordinator, tools.clock, self._options.at_once_per_host)
        self._robots = RobotsCache(
            tools.cache,
            tools.clock,
            self._fetcher,
            product_token(self._options.user_agent),
            self._options.realm,
        )
        self._single_flight: SingleFlight[PageResult] = SingleFlight()
        self._sandbox = SandboxPool()

    async def start(self) -> None:
        """Open the HTTP connection pool."""
        await self._fetcher.start()

    async def run(self, payload: bytes, deadline_s: float) -> bytes:
        """Return a packed `PageResult` for a packed `PageTask`. Raises DecodeError, RetryLater."""
        task = read_page_task(payload)
        if task.wants is not None and task.wants.source is Source.SITE:
            return pack(PageResult(task.url, maps=await self._sitemaps(task.url)))
        for cache in self._caches(task.wants):
            entry = await cache.find(task.url)
            answer = self._answer(task, entry)
            if answer is not None:
                return pack(answer)
        limit_s = min(deadline_s, self._options.page_timeout_s)
        fetch = partial(self._fetch, task, cache, entry, limit_s)
        return pack(await self._single_flight.do((task.url, task.bounds, task.wants), fetch))

    async def stop(self) -> None:
        """Close all connections; fine to call twice."""
        await self._hosts.stop()
        await self._sandbox.stop()
        await self._fetcher.stop()

    def _answer(self, task: PageTask, entry: CacheEntry) -> PageResult | None:
        """Return the cached result, if it is young enough and goes far enough."""
        if entry.page is None or not entry.page.is_fresh(task, self._clock.wall()):
            return None
        return entry.page.answer(task.url, task.bounds, task.wants)

    async def _fetch(self, task: PageTask, cache: PageCache, entry: CacheEntry, limit_s: float) -> PageResult:
        if cache.is_awaited(entry) or (task.wants is not None and task.wants.select and self._sandbox.is_full):
            raise RetryLater(AWAITED_S)
        now, known = self._clock.wall(), entry.page
        visit = partial(self._visit, task.url, cache, entry)
        try:
            page = await self._fetcher.fetch(task.url, task.bounds, limit_s, known, visit, _reading(task.wants))
            kept = await self._kept(page, known, now, task.wants)
            if page.can_keep:
                await cache.keep(task.url, kept)
        except NotFetched as problem:
            again_s = await self._hosts.again_in(task.url, problem)
            if again_s is not None:
                raise RetryLater(again_s) from problem
            return PageResult(problem.url, problem.status, problem.reason)
        finally:
            await cache.give_up(task.url, entry)
        self._hosts.answered(task.url)
        answer = kept.answer(task.url, task.bounds, task.wants)
        assert answer is not None, "it was fetched within these bounds"
        return answer

    @asynccontextmanager
    async def _visit(
        self, start: str, cache: PageCache, entry: CacheEntry, url: str, number: int
    ) -> AsyncIterator[None]:
        """Context manager around each request for the page at `start`: checks robots.txt, and waits for the host's
        limits.
        """
        delay_s = robots_at = 0.0
        if not self._options.ignores_robots:
            site_rules = await self._robots.of(url)
            if not await site_rules.allows(url):
                raise NotFetched(Skipped.ROBOTS, url)
            delay_s, robots_at = site_rules.rules.delay_s, site_rules.kept.asked_at
        async with self._hosts.visit(url, number, delay_s, robots_at):
            if not number:
                await cache.announce(start, entry)
            yield

    def _caches(self, wants: Wants | None) -> list[PageCache]:
        """Return the caches that may hold what is wanted; the result is stored in the last one."""
        if wants is None or not (wants.check or wants.source or wants.select):
            return [self._page_cache]
        if wants.source:
            return [self._page_cache.aspect(_SITEMAPS)]
        if wants.select:
            return [self._page_cache.aspect(_SELECTED + pack(wants.select))]
        return [self._page_cache, self._page_cache.aspect(_CHECKED)]

    async def _sitemaps(self, url: str) -> list[str]:
        """Return the sitemaps that the site of `url` names in its robots.txt."""
        try:
            return (await self._robots.of(url)).kept.maps
        except NotFetched:
            return []

    async def _kept(self, page: Fetched, known: CachedPage | None, now: float, wants: Wants | None) -> CachedPage:
        """Return the cache entry for a page that was requested at `now`."""
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
            return structs.replace(detail, selected=await self._sandbox.do(SELECT_S, extract, *work))
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
            return await self._sandbox.do(SITEMAP_S, read_sitemap, page.body, page.url)
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
