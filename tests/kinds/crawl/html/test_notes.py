"""What is told of pages beside their links is what their servers said, and it is bounded."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.kinds.crawl import crawl_details
from roost.backend.kinds.crawl.crawl_details import CrawlDetails
from roost.backend.kinds.crawl.output.crawl_result import CrawlResult
from roost.backend.kinds.crawl.output.packing import CompressedRows
from roost.backend.kinds.crawl.page_tasks import Detail, PageResult
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.wire.messages.outcome import PART_BYTES
from tests.kinds.crawl.crawling import crawl, runners
from tests.kinds.crawl.site import Answer, page, serve, tree


def html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", charset="utf-8")


def told(result: CrawlResult, base: str) -> dict[str, tuple[object, ...]]:
    assert result.pages is not None
    return {
        url.removeprefix(base): (p.status, p.type, p.bytes, p.landed.removeprefix(base), p.canonical.removeprefix(base))
        for url, p in result.pages.items()
    }


async def test_detail_is_what_the_server_said_also_from_the_cache() -> None:
    start = "<link rel=canonical href=/home><a href=/a><a href=/old><a href=/x.pdf><a href=/gone><a href=/self>"
    pages: dict[str, Answer] = {
        "": html(start),
        "a": page("/"),
        "old": web.Response(status=301, headers={"Location": "/a"}),
        "x.pdf": web.Response(body=b"%PDF" + bytes(996), content_type="application/pdf"),
        "self": html("<link rel=canonical href=/self>é"),
    }
    async with serve(pages) as site, runners(cache=MemoryCache()) as workers:
        expected: dict[str, tuple[object, ...]] = {
            "": (200, "text/html", len(start), "", "home"),
            "a": (200, "text/html", 17, "", ""),
            "old": (200, "text/html", 17, "a", ""),
            "x.pdf": (200, "application/pdf", 1000, "", ""),
            "gone": (404, "", None, "", ""),
            "self": (200, "text/html", 33, "", "self"),
        }
        for _ in range(2):
            result = await crawl(CrawlSpec(site.url, depth=2, detail=True), workers)
            assert told(result, site.url) == expected
            assert result.parents == {site.url + path: site.url for path in expected if path}
            times = {url: page.time_s for url, page in (result.pages or {}).items()}
            assert all((times[site.url + path] is None) is (path == "gone") for path in expected)
        assert site.asked().count("a") == 2, "once by name, once by redirect"


async def test_a_plain_crawl_carries_nothing_of_it() -> None:
    async with serve({"": page("/a"), "a": page()}) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=2), workers)
        assert (result.pages, result.parents, result.links) == (None, None, None)


async def test_a_redirect_out_of_bounds_is_a_page_that_landed_there() -> None:
    moved = web.Response(status=302, headers={"Location": "http://o.example/"})
    async with serve({"": page("/a"), "a": moved}) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=2, detail=True), workers)
        assert result.levels[2] == ["http://o.example/"]
        gone = (result.pages or {})[site.url + "a"]
        assert (gone.status, gone.landed) == (302, "http://o.example/")


def test_a_sheaf_is_the_same_rows_in_parts_that_fit() -> None:
    sheaf = CompressedRows(b'{"pages":[', b"]}", 10**9)
    rows = [[n, "x" * (n % 500)] for n in range(3000)]
    assert all(sheaf.add(json.dumps(row).encode()) for row in rows)
    parts = list(sheaf.parts())
    assert len(parts) > 2
    assert max(map(len, parts)) <= PART_BYTES
    assert [row for part in parts for row in json.loads(part)["pages"]] == rows
    assert list(CompressedRows(b"[", b"]", 10).parts()) == []


def test_a_row_that_fits_nowhere_and_one_that_is_too_much_are_refused() -> None:
    sheaf = CompressedRows(b"[", b"]", 100)
    assert not sheaf.add(b"1" * PART_BYTES)
    took = 0
    while sheaf.add(b"%0100000d" % took):
        took += 1
    assert 2 < took < 100
    assert b"".join(sheaf.parts()).count(b"0" * 99_000) == took


def test_notes_that_are_too_much_are_cut_and_the_crawl_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl_details, "MOST_LINKS", 3)
    taken = CrawlDetails("u", details=True, links=True, broken=False)
    was_cut = []
    for url, links, news in (("u", ["a", "b"], ["a", "b"]), ("a", ["u", "b"], [])):
        taken.take(url, PageResult(url, 200, None, links, detail=Detail() if url == "u" else None), news)
        was_cut.append(taken.is_cut)
    assert was_cut == [False, True]
    assert [json.loads(part) for part in taken.parts([])] == [
        {"parents": [-1, 0, 0]},
        {"pages": [[0, 200, "", "", None, 0.0, "", None, ""], [1, 200, "", "", None, None, "", None, ""]]},
        {"links": [[0, 1, 2]]},
    ]


async def test_check_asks_for_the_last_level_by_its_head_and_says_who_links_to_what_is_not_there() -> None:
    async def no_head(request: web.Request) -> web.Response:
        return web.Response(status=405 if request.method == "HEAD" else 200, body=b"x" * 100_000)

    pages: dict[str, Answer] = {
        "": page("/a", "/b", "/gone", "http://o.example/"),
        "a": page("/gone", "/lost", "/c", "/away"),
        "b": page("/lost", "/odd", "/c", "/a"),
        "c": page("/d"),
        "odd": no_head,
        "away": web.Response(status=302, headers={"Location": "http://o.example/"}),
    }
    async with serve(pages) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=2, check=True), workers)
        assert [len(level) for level in result.levels] == [1, 4, 4], "the last level's links are not listed"
        assert (result.fetched, result.checked) == (3, 3)
        assert [(link.url, link.reason, link.count, link.pages) for link in result.broken or ()] == [
            (site.url + "gone", "status_404", 2, [site.url, site.url + "a"]),
            (site.url + "lost", "status_404", 2, [site.url + "a", site.url + "b"]),
        ]
        methods = {(method, path) for method, path in site.methods if path != "robots.txt"}
        assert {path for method, path in methods if method == "HEAD"} == {"lost", "c", "away", "odd"}
        assert {path for method, path in methods if method == "GET"} == {"", "a", "b", "gone", "lost", "odd"}


async def test_a_page_that_was_fetched_or_checked_lately_is_not_asked_for_again() -> None:
    async with serve({"": page("/a"), "a": page("/b"), "b": page()}) as site, runners(cache=MemoryCache()) as workers:
        await crawl(CrawlSpec(site.url, depth=2), workers)
        site.asked()
        first = await crawl(CrawlSpec(site.url, depth=2, check=True), workers)
        assert site.asked() == ["b"]
        second = await crawl(CrawlSpec(site.url, depth=2, check=True), workers)
        assert site.asked() == []
        assert first.checked == second.checked == 1
        deeper = await crawl(CrawlSpec(site.url, depth=3), workers)
        assert site.asked() == ["b"], "that it is there does not say what it links to"
        assert deeper.fetched == 3


async def test_the_pages_that_are_checked_count_too() -> None:
    async with serve(tree(9, 1)) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=1, check=True, max_pages=5), workers)
        assert len(site.asked()) == 5
        assert (result.fetched, result.checked, len(result.skipped), result.truncated) == (1, 4, 5, True)


def test_of_a_link_that_is_broken_everywhere_only_some_pages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl_details, "MOST_NAMED", 2)
    taken = CrawlDetails("u", details=False, links=False, broken=True)
    taken.take("u", PageResult("u", 200, None, ["a", "b", "c", "x"]), ["a", "b", "c", "x"])
    for url in ("a", "b", "c"):
        taken.take(url, PageResult(url, 200, None, ["x"]), [])
    *_, broken = [json.loads(part) for part in taken.parts(["x", "not listed"])]
    assert broken == {"broken": [[4, 4, 0, 1]]}
