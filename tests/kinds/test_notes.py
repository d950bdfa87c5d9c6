"""What is told of pages beside their links is what their servers said, and it is bounded."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from backend.cache.memory import MemoryCache
from backend.kinds.crawl import notes
from backend.kinds.crawl.notes import Notes
from backend.kinds.crawl.pages import Detail, PageResult
from backend.kinds.crawl.parts import Sheaf
from backend.kinds.crawl.result import CrawlResult
from backend.kinds.crawl.spec import CrawlSpec
from tests.kinds.crawling import crawl, runners
from tests.kinds.site import Answer, page, serve
from wire.messages.outcome import PART_BYTES


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
    sheaf = Sheaf(b'{"pages":[', b"]}", 10**9)
    rows = [[n, "x" * (n % 500)] for n in range(3000)]
    assert all(sheaf.add(json.dumps(row).encode()) for row in rows)
    parts = list(sheaf.parts())
    assert len(parts) > 2
    assert max(map(len, parts)) <= PART_BYTES
    assert [row for part in parts for row in json.loads(part)["pages"]] == rows
    assert list(Sheaf(b"[", b"]", 10).parts()) == []


def test_a_row_that_fits_nowhere_and_one_that_is_too_much_are_refused() -> None:
    sheaf = Sheaf(b"[", b"]", 100)
    assert not sheaf.add(b"1" * PART_BYTES)
    took = 0
    while sheaf.add(b"%0100000d" % took):
        took += 1
    assert 2 < took < 100
    assert b"".join(sheaf.parts()).count(b"0" * 99_000) == took


def test_notes_that_are_too_much_are_cut_and_the_crawl_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "MOST_LINKS", 3)
    taken = Notes("u", details=True, links=True)
    was_cut = []
    for url, links, news in (("u", ["a", "b"], ["a", "b"]), ("a", ["u", "b"], [])):
        taken.take(url, PageResult(url, 200, None, links, detail=Detail() if url == "u" else None), news)
        was_cut.append(taken.is_cut)
    assert was_cut == [False, True]
    assert [json.loads(part) for part in taken.parts()] == [
        {"parents": [-1, 0, 0]},
        {"pages": [[0, 200, "", "", None, 0.0, ""], [1, 200, "", "", None, None, ""]]},
        {"links": [[0, 1, 2]]},
    ]
