"""What was fetched is not fetched again: by the site's own log."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.kinds.api import RetryLater
from roost.backend.kinds.crawl.cached_page import (
    ENTRY_BYTES,
    HARD_AGE_S,
    NOTHING,
    CachedPage,
    CacheEntry,
    Hop,
    pack_entry,
    read_entry,
)
from roost.backend.kinds.crawl.page_cache import OWNED_S, PageCache
from roost.backend.kinds.crawl.page_tasks import PageResult, PageTask, read_page_result
from roost.backend.kinds.crawl.single_flight import SingleFlight
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.backend.kinds.crawl.urls import Bounds, Scope
from roost.wire.codec import pack
from tests.kinds.crawl.crawling import LOOPBACK, LaterClock, crawl, runners, visit
from tests.kinds.crawl.politeness.caches import Forgetful
from tests.kinds.crawl.site import ROBOTS, Answer, page, serve, tree


async def test_a_deeper_crawl_fetches_only_the_level_that_is_new() -> None:
    async with serve(tree(3, 3)) as site, runners(cache=MemoryCache()) as workers:
        await crawl(CrawlSpec(site.url, depth=2), workers)
        assert len(site.asked()) == 1 + 3
        deeper = await crawl(CrawlSpec(site.url, depth=3), workers)
        assert {len(path) for path in site.asked()} == {2}
        assert [len(level) for level in deeper.levels] == [1, 3, 9, 27]


async def test_the_same_crawl_of_any_smaller_depth_fetches_nothing() -> None:
    async with serve(tree(3, 3)) as site, runners(cache=MemoryCache()) as workers:
        first = await crawl(CrawlSpec(site.url, depth=3), workers)
        site.asked()
        for depth in (3, 1, 2):
            again = await crawl(CrawlSpec(site.url, depth=depth), workers)
            assert again.levels == first.levels[: depth + 1]
        assert site.asked() == []


async def test_who_insists_on_fresh_pages_asks_whether_they_have_changed() -> None:
    async with serve(tree(2, 1)) as site, runners(cache=MemoryCache()) as workers:
        await crawl(CrawlSpec(site.url, depth=2), workers)
        site.log.clear()
        result = await crawl(CrawlSpec(site.url, depth=2, max_age_s=0), workers)
        assert [headers.get("If-None-Match") for _, path, headers in site.log] == ['""', '"0"', '"1"']
        assert [len(level) for level in result.levels] == [1, 2]
        site.pages[""] = page("/new", ETag='"other"')
        assert (await visit(workers, site.url)).links == [site.url + "new"]


async def test_a_page_without_etag_is_checked_by_its_date() -> None:
    date = "Sun, 22 Nov 2026 10:00:00 GMT"
    async with serve({"": page("/x", Last_Modified=date)}) as site, runners(cache=MemoryCache()) as workers:
        await visit(workers, site.url)
        await visit(workers, site.url)
        assert [headers.get("If-Modified-Since") for _, path, headers in site.log if path != ROBOTS] == [None, date]


async def test_an_answer_of_not_modified_makes_the_page_young_again() -> None:
    clock = LaterClock()
    async with serve(tree(2, 1)) as site, runners(cache=MemoryCache(), clock=clock) as workers:
        first = await visit(workers, site.url, max_age_s=60)
        clock.ahead_s = 100
        assert await visit(workers, site.url, max_age_s=60) == first
        clock.ahead_s = 150
        assert await visit(workers, site.url, max_age_s=60) == first
        assert site.asked() == ["", ""]


async def test_pages_since_the_job_began_are_fresh_for_it_whatever_it_insists_on() -> None:
    clock = LaterClock()
    async with serve(tree(2, 1)) as site, runners(cache=MemoryCache(), clock=clock) as workers:
        began = clock.wall()
        await visit(workers, site.url, since=began)
        clock.ahead_s = 1000
        await visit(workers, site.url, since=began)
        assert site.asked() == [""]
        await visit(workers, site.url, since=clock.wall())
        assert site.asked() == [""]


async def test_a_page_that_another_worker_is_fetching_is_waited_for() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.Response:
        asked.set()
        await may_answer.wait()
        return page("/x")

    async with serve({"": slowly}) as site, runners(2, cache=MemoryCache()) as (one, other):
        first = asyncio.create_task(visit([one], site.url, max_age_s=60))
        await asked.wait()
        with pytest.raises(RetryLater):
            await other.run(pack(PageTask(site.url, Bounds.around(site.url, Scope.HOST), 60)), 60)
        may_answer.set()
        assert await visit([other], site.url, max_age_s=60) == await first
        assert site.asked() == [""]


async def test_a_worker_that_died_over_a_page_is_not_waited_for_forever() -> None:
    cache, clock = MemoryCache(), LaterClock()
    async with serve(tree(2, 1)) as site:
        dead = PageCache(cache, clock, LOOPBACK.realm, b"dead")
        await dead.announce(site.url, NOTHING)
        async with runners(cache=cache, clock=clock) as workers:
            payload = pack(PageTask(site.url, Bounds.around(site.url, Scope.HOST), 60))
            with pytest.raises(RetryLater):
                await workers[0].run(payload, 60)
            clock.ahead_s = OWNED_S
            assert len(read_page_result(await workers[0].run(payload, 60)).links) == 2


async def test_without_a_cache_those_of_one_worker_still_share_a_request() -> None:
    async with serve(tree(2, 1)) as site, runners() as workers:
        await asyncio.gather(*(visit(workers, site.url) for _ in range(10)))
        assert site.asked() == [""]


async def test_failures_are_not_kept_and_nobody_waits_for_them() -> None:
    async with serve({}) as site, runners(2, cache=MemoryCache()) as workers:
        reasons = [(await visit([worker], site.url + "no", max_age_s=60)).reason for worker in workers]
        assert (reasons, site.asked()) == (["status_404"] * 2, ["no", "no"])


async def test_a_page_that_is_not_to_be_stored_is_not() -> None:
    pages: dict[str, Answer] = {"": page("/x", Cache_Control="private, No-Store")}
    async with serve(pages) as site, runners(cache=MemoryCache()) as workers:
        for _ in range(2):
            await visit(workers, site.url, max_age_s=60)
        assert site.asked() == ["", ""]


async def test_workers_that_may_reach_other_addresses_share_no_pages() -> None:
    cache = MemoryCache()
    async with serve(tree(2, 1)) as site, runners(cache=cache) as allowed:
        await visit(allowed, site.url, max_age_s=60)
        async with runners(cache=cache, options=replace(LOOPBACK, allow_private=())) as refused:
            assert (await visit(refused, site.url, max_age_s=60)).reason == "refused_address"


async def test_a_kept_redirect_is_judged_by_the_bounds_of_whoever_reads_it() -> None:
    async with serve({"": page("/x")}, "127.0.0.2") as away, runners(cache=MemoryCache()) as workers:
        moved = web.Response(status=301, headers={"Location": away.url})
        async with serve({"": moved}) as site:
            assert (await visit(workers, site.url, 60)).links == [away.url]
            assert away.asked() == []
            assert (await visit(workers, site.url, 60, Scope.ANY)).links == [away.url + "x"]
            assert site.asked() == ["", ""]
            assert away.asked() == [""]
            inside = await visit(workers, site.url, 60)
            assert inside.status == 301
            assert inside.links == [away.url]
            assert (await visit(workers, site.url, 60, Scope.ANY)).url == away.url
            assert site.asked() + away.asked() == []


@pytest.mark.parametrize("seed", range(4))
async def test_i5_a_cache_that_forgets_at_any_time_changes_nothing_of_what_is_found(seed: int) -> None:
    async with serve(tree(3, 3)) as site, runners() as without:
        spec = CrawlSpec(site.url, depth=3)
        expected = await crawl(spec, without)
        cache = Forgetful(random.Random(seed))
        async with runners(2, cache) as workers:
            found = [await crawl(spec, workers) for _ in range(2)]
        assert [(result.levels, result.failed, result.skipped) for result in found] == [
            (expected.levels, expected.failed, expected.skipped)
        ] * 2
        assert cache.forgotten_count > 0


async def test_i5_what_is_damaged_in_the_cache_is_fetched_again() -> None:
    class Damaged(MemoryCache):
        async def get(self, key: bytes) -> bytes | None:
            found = await super().get(key)
            return found and found[: len(found) // 2]

    async with serve(tree(2, 1)) as site, runners(cache=Damaged()) as workers:
        for _ in range(2):
            assert len((await visit(workers, site.url, 60)).links) == 2
        assert site.asked() == ["", ""]


pages = st.builds(
    CachedPage,
    checked_at=st.floats(0, 2e9),
    hops=st.lists(st.builds(Hop, st.integers(301, 308), st.sampled_from(["http://a/", "http://b/"]))),
    status=st.sampled_from([0, 200, 204]),
    links=st.lists(st.text()),
)


@given(pages, st.floats(0, 1e9))
def test_an_entry_comes_back_as_it_was_put(kept: CachedPage, put_at: float) -> None:
    entry = CacheEntry(kept, put_at, b"me", put_at + 1)
    blob = pack_entry(entry)
    assert blob is not None
    assert read_entry(blob) == entry


@given(st.binary() | st.none())
def test_i5_whatever_the_cache_says_is_an_entry_or_nothing(blob: bytes | None) -> None:
    assert isinstance(read_entry(blob), CacheEntry)
    assert read_entry(None) is NOTHING


@given(pages, st.sampled_from(Scope))
def test_an_answer_never_leaves_the_bounds_and_exists_unless_the_way_was_not_walked(
    kept: CachedPage, scope: Scope
) -> None:
    bounds = Bounds.around("http://a/", scope)
    answer = kept.answer("http://a/", bounds)
    if answer is None:
        assert kept.status == 0
        assert all(bounds.allows(hop.url) for hop in kept.hops)
    elif not bounds.allows(answer.url):
        led = Hop(answer.status, answer.url)
        assert led in kept.hops
        assert answer == PageResult(led.url, led.status, links=[led.url]), "listed, and that is all"


def test_links_without_end_are_not_kept() -> None:
    assert pack_entry(CacheEntry(CachedPage(0.0, links=["x" * ENTRY_BYTES]))) is None
    assert (
        pack_entry(CacheEntry(CachedPage(0.0, links=[f"http://a/{i * 7919**9 % 10**30}" for i in range(20_000)])))
        is None
    )


@given(st.floats(0, 2e9), st.floats(0, 2e9))
def test_no_use_keeps_a_page_beyond_its_hard_age(checked_at: float, now: float) -> None:
    entry = CacheEntry(CachedPage(checked_at), put_at=now)
    assert now + entry.lives_s(now) <= checked_at + HARD_AGE_S + 1e-3


@pytest.mark.parametrize(
    ("age_s", "max_age_s", "fresh"), [(0, 0, False), (59, 60, True), (60, 60, False), (-9, 1, True)]
)
def test_age_is_what_a_task_bears(age_s: float, max_age_s: float, fresh: bool) -> None:
    task = PageTask("http://a/", Bounds.around("http://a/", Scope.HOST), max_age_s)
    assert CachedPage(1000.0 - age_s).is_fresh(task, 1000.0) is fresh


async def test_work_is_done_once_and_begun_anew_when_who_did_it_is_cancelled() -> None:
    flights: SingleFlight[int] = SingleFlight()
    may_end, begun = asyncio.Event(), 0

    async def work() -> int:
        nonlocal begun
        begun += 1
        await may_end.wait()
        return begun

    first, *others = (asyncio.create_task(flights.do("key", work)) for _ in range(4))
    await asyncio.sleep(0)
    others[0].cancel()
    first.cancel()
    await asyncio.gather(first, others[0], return_exceptions=True)
    may_end.set()
    assert (await others[1], await others[2]) == (2, 2)
    assert await flights.do("key", work) == 3


async def test_what_fails_fails_for_all_who_wait_and_for_nobody_after() -> None:
    flights: SingleFlight[int] = SingleFlight()
    may_end = asyncio.Event()

    async def fail() -> int:
        await may_end.wait()
        raise ValueError("no")

    async def work() -> int:
        return 7

    tasks = [asyncio.create_task(flights.do("key", fail)) for _ in range(3)]
    await asyncio.sleep(0)
    may_end.set()
    assert [type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)] == [ValueError] * 3
    assert await flights.do("key", work) == 7
