"""A host is asked as it wants to be: by the site's own log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from itertools import pairwise

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bench.support.services import redis
from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.cache.port import Cache
from roost.backend.cache.redis_cache import RedisCache
from roost.backend.kinds.api import RetryLater
from roost.backend.kinds.crawl.page_tasks import PageTask, read_page_result
from roost.backend.kinds.crawl.politeness.host_coordinator import SETTLE_S, HostCoordinator
from roost.backend.kinds.crawl.politeness.pace import (
    MOST_WAIT_S,
    TRIES,
    Tries,
    Window,
    backoff_s,
    retry_after_s,
)
from roost.backend.kinds.crawl.politeness.worker_ring import WorkerRing
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.backend.kinds.crawl.urls import Bounds, Scope
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.codec import pack
from tests.kinds.crawl.crawling import LaterClock, crawl, runners, visit
from tests.kinds.crawl.politeness.caches import NoCache
from tests.kinds.crawl.site import ROBOTS, Answer, page, robots, serve, tree

DELAY_S = 1.0


class Meter:
    """Pages that take their time, from when they may, and how many were being answered at once."""

    def __init__(self, takes_s: float, is_closed: bool = False) -> None:
        self._takes_s = takes_s
        self.may_answer = asyncio.Event()
        if not is_closed:
            self.may_answer.set()
        self.now = self.most = 0
        self.is_full = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now == 8:
            self.is_full.set()
        await self.may_answer.wait()
        await asyncio.sleep(self._takes_s)
        self.now -= 1
        return page()


def answers(*made: web.Response) -> Callable[[web.Request], Awaitable[web.Response]]:
    """One after the other; the last one for ever."""
    left = list(made)

    async def answer(request: web.Request) -> web.Response:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def error(status: int, **headers: str) -> web.Response:
    return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def payload(url: str) -> bytes:
    return pack(PageTask(url, Bounds.around(url, Scope.HOST)))


@pytest.mark.slow
async def test_a_crawl_delay_holds_across_three_workers_and_four_jobs() -> None:
    pages = tree(3, 2) | {ROBOTS: robots(f"User-agent: *\nCrawl-delay: {DELAY_S}")}
    async with serve(pages) as site, runners(3, cache=MemoryCache()) as workers:
        starts = [site.url, *(f"{site.url}{i}" for i in range(3))]
        results = await asyncio.gather(*(crawl(CrawlSpec(start, depth=1), workers) for start in starts))
        assert [len(result.levels[1]) for result in results] == [3] * 4
        times = sorted(at for at, path, _ in site.log if path != ROBOTS)
        assert len(times) == len(starts)
        assert min(later - at for at, later in pairwise(times)) >= DELAY_S * 0.7


@pytest.mark.slow
async def test_without_a_cache_each_worker_keeps_the_delay_also_after_robots_txt() -> None:
    pages = tree(2, 1) | {ROBOTS: robots("User-agent: *\nRequest-rate: 2/1")}
    async with serve(pages) as site, runners() as workers:
        await asyncio.gather(*(visit(workers, site.url + name) for name in ("", "0", "1")))
        times = [at for at, _, _ in site.log]
        assert len(times) == 4
        assert min(later - at for at, later in pairwise(times)) >= 0.5 * 0.7


@pytest.mark.slow
async def test_p32_while_the_cache_is_away_a_crawl_delay_is_kept_by_the_one_worker_that_a_host_belongs_to() -> None:
    pages = tree(2, 1) | {ROBOTS: robots("User-agent: *\nCrawl-delay: 0.4")}
    async with serve(pages) as site, runners(3, known=True) as workers:
        await asyncio.gather(*(visit(workers, site.url + name) for name in ("", "0", "1")))
        times = sorted(at for at, path, _ in site.log if path != ROBOTS)
        assert len(times) == 3
        assert min(later - at for at, later in pairwise(times)) >= 0.4 * 0.7


async def test_p32_while_the_cache_is_away_workers_share_the_eight_by_their_number() -> None:
    meter = Meter(0.1)
    async with serve({str(i): meter.answer for i in range(40)}) as site, runners(3, known=True) as workers:
        await asyncio.gather(*(visit(workers, f"{site.url}{i}") for i in range(40)))
        assert 3 <= meter.most <= 8


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True), st.integers(0, 20), st.text())
def test_p32_workers_that_know_of_each_other_come_to_the_same_order_by_themselves(
    names: list[str], whole: int, host: str
) -> None:
    companies = [WorkerRing(name, lambda: names) for name in names]
    (owner,) = (name for name, company in zip(names, companies, strict=True) if company.owns(host))
    parts = [company.part(host, whole) for company in companies]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1
    left = [name for name in names if name != names[0]]
    assert owner == names[0] or WorkerRing(owner, lambda: left).owns(host), "only what was its own changes hands"
    assert WorkerRing("new", list).owns(host), "who knows of nobody is alone"


async def test_a_page_that_is_held_back_leaves_the_worker_at_once() -> None:
    pages = tree(2, 1) | {ROBOTS: robots("User-agent: *\nCrawl-delay: 250")}
    async with serve(pages) as site, runners() as workers:
        with pytest.raises(RetryLater) as later:
            await workers[0].run(payload(site.url), 60)
        assert 200 < later.value.after_s < 400
        assert site.asked() == []


async def test_a_redirect_on_a_host_with_a_delay_is_followed_in_the_end() -> None:
    moved = web.Response(status=302, headers={"Location": "/0"})
    pages = tree(2, 1) | {"moved": moved, ROBOTS: robots("User-agent: *\nCrawl-delay: 0.3")}
    async with serve(pages) as site, runners() as workers:
        assert (await visit(workers, site.url + "moved")).url == site.url + "0"
        times = [at for at, _, _ in site.log]
        assert len(times) == 3
        assert min(later - at for at, later in pairwise(times)) >= 0.3 * 0.7


async def test_one_worker_asks_a_host_eight_pages_at_a_time_for_all_its_jobs() -> None:
    meter = Meter(0.1)
    async with serve({str(i): meter.answer for i in range(40)}) as site, runners() as workers:
        results = await asyncio.gather(*(visit(workers, f"{site.url}{i}") for i in range(40)))
        assert {result.reason for result in results} == {None}
        assert meter.most == 8


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.engines)])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Cache]]:
    """What gives each worker its cache, with the same content for all."""
    if request.param == "memory":
        cache = MemoryCache()
        yield lambda: cache
        return
    connections: list[RedisCache] = []

    def connect() -> Cache:
        connections.append(RedisCache(redis().url))
        return connections[-1]

    yield connect
    for connection in connections:
        await connection.stop()


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True], ids=["alone", "known"])
async def test_three_workers_share_the_eight(shared: Callable[[], Cache], known: bool) -> None:
    meter = Meter(0.1)
    pages: dict[str, Answer] = {str(i): meter.answer for i in range(60)}
    async with serve(pages) as site, runners(3, cache=shared, known=known) as workers:
        await asyncio.gather(*(visit(workers, f"{site.url}{i}") for i in range(60)))
        assert 3 <= meter.most <= 8


@pytest.mark.slow
async def test_workers_that_come_in_the_middle_leave_the_eight_as_they_are(shared: Callable[[], Cache]) -> None:
    meter = Meter(0.05, is_closed=True)
    pages: dict[str, Answer] = {str(i): meter.answer for i in range(90)}
    async with serve(pages) as site, runners(12, cache=shared) as workers:
        first = [asyncio.create_task(visit(workers[:1], f"{site.url}{i}")) for i in range(40)]
        await meter.is_full.wait()
        others = [asyncio.create_task(visit(workers, f"{site.url}{i}")) for i in range(40, 90)]
        for number, worker in enumerate(workers[1:]):
            with pytest.raises(RetryLater):
                await worker.run(payload(f"{site.url}x{number}"), 60)
        meter.may_answer.set()
        await asyncio.gather(*first, *others)
        assert meter.most == 8


async def test_a_worker_that_ends_leaves_its_places_to_the_others_at_once(shared: Callable[[], Cache]) -> None:
    meter = Meter(0.05)
    pages: dict[str, Answer] = {str(i): meter.answer for i in range(40)}
    async with serve(pages) as site, runners(2, cache=shared) as (ending, staying):
        await asyncio.gather(*(visit([ending], f"{site.url}{i}") for i in range(20)))
        await ending.stop()
        if isinstance(shared(), MemoryCache):
            found = await staying.run(payload(f"{site.url}20"), 60)  # raises Later while the places are not free
            assert read_page_result(found).reason is None
        else:  # on a busy machine a swap may have no answer in time
            assert (await visit([staying], f"{site.url}20")).reason is None
        assert meter.most <= 8


async def test_a_request_is_cut_off_when_its_lease_ends_and_nothing_begins_under_it() -> None:
    cache, meter = MemoryCache(), Meter(30.0)
    clock = LaterClock()
    pages: dict[str, Answer] = {str(i): meter.answer for i in range(8)}
    async with serve(pages) as site, runners(cache=cache, clock=clock) as (worker,):
        tasks = [asyncio.create_task(worker.run(payload(f"{site.url}{i}"), 60)) for i in range(8)]
        await meter.is_full.wait()
        (host,) = worker._hosts._active.values()
        host.lease.until = clock.monotonic()  # as after standing still
        host.renewed()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ended} == {RetryLater}
        assert host.asked == 0


async def test_hosts_do_not_wait_for_each_other() -> None:
    stuck = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await stuck.wait()
        return page()

    hanging: dict[str, Answer] = {str(i): hang for i in range(20)}
    async with serve(hanging) as slow, serve(tree(1, 1), "127.0.0.2") as quick, runners() as workers:
        waiting = [asyncio.create_task(visit(workers, f"{slow.url}{i}")) for i in range(20)]
        assert (await visit(workers, quick.url)).reason is None
        stuck.set()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_trouble_that_passes_costs_only_time(status: int) -> None:
    pages: dict[str, Answer] = {"": answers(error(status), page("/x"))}
    async with serve(pages) as site, runners() as workers:
        assert (await visit(workers, site.url)).links == [site.url + "x"]
        assert site.asked() == ["", ""]


@pytest.mark.slow
async def test_trouble_that_lasts_ends_after_a_few_tries_and_each_job_has_its_own() -> None:
    async with serve({"": error(500)}) as site, runners() as workers:
        for _ in range(2):
            assert (await visit(workers, site.url)).reason == "status_500"
            assert len(site.asked()) == TRIES


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    async with serve({"": error(status)}) as site, runners() as workers:
        assert (await visit(workers, site.url)).reason == f"status_{status}"
        assert site.asked() == [""]


async def test_retry_after_holds_back_the_whole_host_in_all_workers() -> None:
    pages: dict[str, Answer] = {"": answers(error(503, Retry_After="1"), page()), "0": page(), "1": page()}
    async with serve(pages) as site, runners(2, cache=MemoryCache()) as workers:
        with pytest.raises(RetryLater) as later:
            await workers[0].run(payload(site.url), 60)
        assert later.value.after_s >= 1
        for worker, name in zip(workers, "01", strict=True):
            with pytest.raises(RetryLater):
                await worker.run(payload(site.url + name), 60)
        assert site.asked() == [""]
        assert (await visit(workers, site.url)).reason is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["86400", "9" * 5000, formatdate(SYSTEM_CLOCK.wall() + 9999, usegmt=True)],
    ids=["seconds", "absurd", "date"],
)
async def test_a_host_that_wants_hours_of_pause_is_not_asked_again(text: str) -> None:
    async with serve({"": error(429, Retry_After=text), "x": page()}) as site, runners() as workers:
        assert (await visit(workers, site.url)).reason == "status_429"
        assert (await visit(workers, site.url + "x")).reason == "status_429"
        assert site.asked() == [""]


@pytest.mark.parametrize("cache", [MemoryCache(), NoCache()], ids=["kept", "forgotten"])
async def test_of_many_who_want_a_turn_one_has_it(cache: Cache) -> None:
    turns = [HostCoordinator(cache, SYSTEM_CLOCK, b"%d" % i) for i in range(10)]
    waits = await asyncio.gather(*(turn.take("host", 30) for turn in turns))
    assert waits.count(0.0) == (1 if isinstance(cache, MemoryCache) else 10)
    again = await asyncio.gather(*(turn.take("host", 30) for turn in turns))
    assert all(0 < wait <= 30 + SETTLE_S for wait in again) is isinstance(cache, MemoryCache)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())), st.integers(1, 20))
def test_a_window_stays_between_one_and_most(events: list[tuple[float, bool]], most: int) -> None:
    window, now = Window(), 0.0
    assert window.at_once(most) == most
    for after_s, is_well in events:
        now += after_s
        if is_well:
            window.answered(after_s, now)
        else:
            window.troubled(after_s, now)
        assert 1 <= window.at_once(most) <= most
    assert window.at_once(0) == 0


def test_a_host_that_slows_is_asked_less_and_one_that_recovers_more() -> None:
    window = Window()
    for now in range(20):
        assert window.at_once(8) == 8
        window.answered(0.1, float(now))
    for now in range(20, 200, 20):
        window.answered(9.0, float(now))
    assert window.at_once(8) == 1
    for now in range(200, 400):
        window.answered(0.1, float(now))
    assert window.at_once(8) == 8


@given(st.text() | st.integers().map(str) | st.just("Fri, 31 Dec 9999 23:59:59 -2359"), st.floats(0, 2e9))
def test_any_retry_after_is_a_number_of_seconds(text: str, now: float) -> None:
    assert 0.0 <= retry_after_s(text, now) < float("inf")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("0", 0),
        (" 120 ", 120),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 50),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0),
        ("Thursday, 01-Jan-70 00:01:00 GMT", 50),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    assert retry_after_s(text, 10.0) == seconds


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_grows_to_a_bound(failures: int, jitter: float) -> None:
    assert 0.5 <= backoff_s(failures, jitter) <= MOST_WAIT_S
    assert backoff_s(failures + 1, jitter) >= backoff_s(failures, jitter)


def test_tries_are_counted_for_a_bounded_number_of_pages() -> None:
    tries = Tries(most=2)
    assert [tries.failed(url) for url in "aabca"] == [1, 2, 1, 1, 1]
    tries.over("a")
    assert tries.failed("a") == 1


async def test_cancelled_pages_leave_their_places_to_others() -> None:
    meter = Meter(30.0)
    pages: dict[str, Answer] = {str(i): meter.answer for i in range(8)}
    async with serve(pages | {"x": page()}) as site, runners() as workers:
        tasks = [asyncio.create_task(workers[0].run(payload(f"{site.url}{i}"), 60)) for i in range(8)]
        await meter.is_full.wait()
        with pytest.raises(RetryLater):
            await workers[0].run(payload(site.url + "x"), 60)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await visit(workers, site.url + "x")).reason is None
