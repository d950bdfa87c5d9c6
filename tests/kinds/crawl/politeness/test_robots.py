"""What a site's robots.txt forbids is not fetched, and reading it ends, whatever it is (RFC 9309)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.kinds.crawl.page_tasks import PageTask, read_page_result
from roost.backend.kinds.crawl.politeness.robots import (
    MOST_BYTES,
    MOST_DELAY_S,
    Rules,
    our_rules,
    product_token,
)
from roost.backend.kinds.crawl.politeness.robots_cache import KEEP_S, TROUBLE_S
from roost.backend.kinds.crawl.reasons import start_failure
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.backend.kinds.crawl.urls import Bounds, Scope
from roost.wire.codec import pack
from tests.kinds.crawl.crawling import LOOPBACK, LaterClock, crawl, patiently, runners, visit
from tests.kinds.crawl.fetch.hostile import BEHAVIOURS, hostile_site
from tests.kinds.crawl.site import ROBOTS, page, robots, serve, tree

SITE = "http://site.test"
FORBIDDEN = "User-agent: *\nDisallow: /"


def allows(text: str | bytes, path: str, token: str = "roost") -> bool:
    body = text.encode() if isinstance(text, str) else text
    return Rules(our_rules(body, token)).allows(SITE + path)


@pytest.mark.parametrize(
    ("text", "allowed", "forbidden"),
    [
        ("", ["/", "/x"], []),
        ("User-agent: *\nDisallow:", ["/", "/x"], []),
        (FORBIDDEN, ["/robots.txt"], ["/", "/x?y"]),
        ("user-agent: ROOST\ndisallow: /a", ["/", "/b"], ["/a", "/a/b", "/abc"]),
        ("User-agent: Roost/2.0 (x)\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent: other\nDisallow: /\n\nUser-agent: *\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent: *\nDisallow: /\nUser-agent: roost\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent: roost\nUser-agent: x\nDisallow: /a\n\nUser-agent: roost\nDisallow: /b", ["/c"], ["/a", "/b"]),
        ("User-agent: x\nUser-agent: *\nDisallow: /a\nUser-agent: y\nDisallow: /b", ["/b"], ["/a"]),
        ("User-agent: roostmaster\nDisallow: /\nUser-agent: roo\nDisallow: /", ["/a"], []),
        ("User-agent: roost\n\nUser-agent: *\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent: roost\nAllow: /\nUser-agent: *\nDisallow: /a", ["/a", "/b"], []),
        ("Disallow: /", ["/a"], []),
        ("User-agent: *\nSitemap: /s.xml\nUser-agent: x\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent: *\nDisallow: /a # no\n#Disallow: /b", ["/b"], ["/a"]),
        ("\ufeffUser-agent: *\r\nDisallow: /a\rDisallow: /b", ["/c"], ["/a", "/b"]),
        ("User-agent: *\nDisallow: /\nAllow: /a/", ["/a/", "/a/b"], ["/", "/a"]),
        ("User-agent: *\nDisallow: /a\nAllow: /a", ["/a"], []),
        ("User-agent: *\nAllow: /a\nDisallow: /a/b\nAllow: /a/b/c", ["/a", "/a/b/c"], ["/a/b", "/a/b/d"]),
        ("User-agent: *\nDisallow: /*.gif$", ["/a.gif?x", "/a.png"], ["/a.gif", "/b/c.gif"]),
        ("User-agent: *\nDisallow: /a/*/c", ["/a/c"], ["/a/b/c", "/a/b/d/c?x"]),
        ("User-agent: *\nDisallow: /caf%C3%A9\nDisallow: /ツ", ["/cafe"], ["/caf%c3%a9", "/%E3%83%84"]),
        ("User-agent: *\nDisallow: /?q=", ["/", "/?p=1"], ["/?q=1"]),
        ("User-agent: *Other*\nDisallow: /\nUser-agent: *\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent roost\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent: *\nDisallow: /a\nUser-agent names: see above\nAllow: /a/b", ["/a/b"], ["/a"]),
    ],
)
def test_rules_mean_what_the_standard_says(text: str, allowed: list[str], forbidden: list[str]) -> None:
    assert [path for path in allowed + forbidden if allows(text, path)] == allowed


@pytest.mark.parametrize(
    ("lines", "delay_s"),
    [
        ("Crawl-delay: 1.5", 1.5),
        ("Crawl-delay: 1e99", MOST_DELAY_S),
        ("Crawl-delay: -1", 0),
        ("Crawl-delay: nan", 0),
        ("Crawl-delay: inf", 0),
        ("Crawl-delay: soon", 0),
        ("Crawl-delay:", 0),
        ("Request-rate: 1/10", 10),
        ("Request-rate: 1/10\nCrawl-delay: 20", 20),
        ("Request-rate: 2/1m", 30),
        (f"Request-rate: 1/{'9' * 4000}", MOST_DELAY_S),
        (f"Request-rate: {'9' * 4000}/1", 0),
        ("Request-rate: 0/0", 0),
    ],
)
def test_a_delay_is_a_sensible_number_whatever_is_written(lines: str, delay_s: float) -> None:
    assert Rules(our_rules(f"User-agent: *\n{lines}".encode(), "roost")).delay_s == delay_s
    assert Rules(our_rules(f"User-agent: other\n{lines}".encode(), "roost")).delay_s == 0


words = st.sampled_from(["User-agent:", "Disallow:", "Allow:", "Crawl-delay:", "*", "roost", "/", "/a", "$", "\n", "#"])


@given(st.lists(words | st.text(max_size=5)).map(" ".join) | st.binary())
def test_any_file_gives_rules(text: str | bytes) -> None:
    rules = Rules(our_rules(text.encode("utf-8", "replace") if isinstance(text, str) else text, "roost"))
    assert isinstance(rules.allows(SITE + "/a"), bool)
    assert 0 <= rules.delay_s <= MOST_DELAY_S


@given(st.lists(words).map(" ".join))
def test_groups_of_others_change_nothing(text: str) -> None:
    ours = "User-agent: roost\nDisallow: /a\n"
    others = text.replace("roost", "other")
    assert our_rules(f"{ours}User-agent: x\n{others}".encode(), "roost") == "Disallow: /a"


def test_half_a_million_blanks_after_user_agent_are_read_once() -> None:
    assert our_rules(b"User-agent" + b" " * 500_000 + b"x: y\nDisallow: /", "roost") == ""


def test_a_crawler_is_called_by_the_first_word_of_its_user_agent() -> None:
    names = ("Roost/0.1 (x)", "My-Bot", "*", "", "0x")
    assert [product_token(text) for text in names] == ["roost", "my-bot", "", "", ""]


def test_what_comes_after_the_first_500_kib_is_not_read() -> None:
    filler = b"#" * (500 * 1024) + b"\n"
    assert not allows(filler + FORBIDDEN.encode(), "/a")
    assert allows(b"#" * MOST_BYTES + b"\n" + FORBIDDEN.encode(), "/a")


async def test_forbidden_pages_are_listed_and_skipped_and_never_asked_for() -> None:
    pages = tree(3, 2) | {ROBOTS: robots("User-agent: *\nDisallow: /0\nDisallow: /1\nAllow: /11")}
    async with serve(pages) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=3), workers)
        assert result.levels[1] == [site.url + name for name in "012"]
        assert result.skipped == [(site.url + name, "robots") for name in "01"]
        assert sorted(site.asked()) == ["", "2", "20", "21", "22"]


async def test_robots_txt_is_asked_for_once_for_all_pages_and_workers() -> None:
    async with serve(tree(3, 2)) as site, runners(2, cache=MemoryCache()) as workers:
        await visit(workers[:1], site.url)
        await asyncio.gather(*(visit(workers, f"{site.url}{i}") for i in range(3)))
        assert [path for _, path, _ in site.log].count(ROBOTS) == 1


@pytest.mark.parametrize(
    ("status", "reason"), [(200, "robots"), (404, None), (403, None), (429, "robots"), (500, "robots"), (503, "robots")]
)
async def test_missing_files_forbid_nothing_and_servers_in_trouble_everything(status: int, reason: str | None) -> None:
    clock = LaterClock()
    async with serve(tree(1, 1) | {ROBOTS: robots(FORBIDDEN, status)}) as site, runners(clock=clock) as workers:
        assert (await visit(workers, site.url)).reason == reason
        site.pages[ROBOTS] = robots("")
        assert (await visit(workers, site.url)).reason == reason
        clock.ahead_s = KEEP_S if status in (200, 403, 404) else TROUBLE_S
        assert (await visit(workers, site.url)).reason is None


async def test_robots_txt_of_every_host_on_the_way_is_heeded() -> None:
    async with serve({"": page(), ROBOTS: robots(FORBIDDEN)}, "127.0.0.2") as away, runners() as workers:
        moved = web.Response(status=302, headers={"Location": away.url})
        async with serve({"": moved}) as site:
            assert (await visit(workers, site.url, scope=Scope.ANY)).reason == "robots"
            assert away.asked() == []


async def test_robots_txt_may_have_moved_but_not_to_where_nobody_may_dial() -> None:
    async with serve({"r": robots(FORBIDDEN)}, "127.0.0.2") as away, runners() as workers:
        moved = web.Response(status=301, headers={"Location": away.url + "r"})
        async with serve({"": page(), ROBOTS: moved}) as site:
            assert (await visit(workers, site.url)).reason == "robots"
            away.log.clear()
            narrow = replace(LOOPBACK, allow_private=("127.0.0.1",))
            async with runners(options=narrow) as others:
                assert (await visit(others, site.url)).reason == "refused_address"
            assert away.log == []


async def test_an_operator_may_ignore_robots_txt_and_shares_no_pages_with_who_does_not() -> None:
    cache = MemoryCache()
    async with serve({"": page("/x"), ROBOTS: robots(FORBIDDEN)}) as site:
        async with runners(cache=cache, options=replace(LOOPBACK, ignores_robots=True)) as workers:
            assert (await visit(workers, site.url, 60)).links == [site.url + "x"]
            assert [path for _, path, _ in site.log] == [""]
        async with runners(cache=cache) as workers:
            assert (await visit(workers, site.url, 60)).reason == "robots"


async def test_links_that_are_not_to_be_followed_are_listed_only_unless_robots_are_ignored() -> None:
    async def careful(request: web.Request) -> web.Response:
        return web.Response(text="<a rel=nofollow href=/x>x</a><a href=/y>y</a>", content_type="text/html")

    async with serve({"": careful, "x": page("/z"), "y": page()}) as site, runners(cache=MemoryCache()) as workers:
        for _ in range(2):  # the second time from the cache
            result = await crawl(CrawlSpec(site.url, depth=2), workers)
            assert result.levels == [[site.url], [site.url + "x", site.url + "y"]]
            assert result.skipped == [(site.url + "x", "nofollow")]
        async with runners(options=replace(LOOPBACK, ignores_robots=True)) as others:
            result = await crawl(CrawlSpec(site.url, depth=2), others)
            assert result.levels[2] == [site.url + "z"]


async def test_the_crawler_says_who_it_is_and_how_its_people_are_reached() -> None:
    options = replace(LOOPBACK, contact="https://crawl.example/about")
    async with serve({"": page()}) as site, runners(options=options) as workers:
        await visit(workers, site.url)
        agents = {headers["User-Agent"] for _, _, headers in site.log}
        assert agents == {f"{LOOPBACK.user_agent} (+https://crawl.example/about)"}


def test_a_start_page_that_is_forbidden_is_explained() -> None:
    assert "robots.txt" in start_failure(SITE, "robots").message


@pytest.mark.slow
@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_whatever_robots_txt_is_its_pages_end_in_a_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, ROBOTS, BEHAVIOURS[name])
    reason = BEHAVIOURS[name][1]
    async with hostile_site() as url, runners(options=replace(LOOPBACK, page_timeout_s=0.5)) as workers:
        payload = pack(PageTask(url + "fine", Bounds.around(url, Scope.HOST)))
        result = read_page_result(await patiently(workers, payload))
    assert result.reason in (None, "robots", "timeout", reason)
    if reason in ("timeout", "bad_response"):
        assert result.reason == reason
    if reason in (None, "status_404", "status_410"):
        assert result.links == [url + "next"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        b"".join(b"User-agent: a%d\n" % i for i in range(60_000)) + b"Disallow: /\n" * 400_000,
        b"User-agent: *\n" + b"".join(b"Disallow: /*%d*x\n" % i for i in range(100_000)),
        b"User-agent: *\n" + b"x " * 5_000_000,
        bytes(range(256)) * 40_000,
    ],
    ids=["agents", "patterns", "words", "bytes"],
)
async def test_ten_megabytes_of_robots_txt_stop_nobody(body: bytes) -> None:
    async with serve({"": page("/x"), ROBOTS: robots(body)}) as site, runners() as workers:
        assert (await visit(workers, site.url)).reason is None
