"""Sitemaps are an extra source of pages, and no way to harm a worker."""

from __future__ import annotations

import contextlib
import gzip
import random

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.kinds.crawl.page_tasks import PageResult, Source, read_page_task
from roost.backend.kinds.crawl.plan import CrawlPlan
from roost.backend.kinds.crawl.runner import INLINE_SITEMAP_BYTES
from roost.backend.kinds.crawl.sitemaps import sitemap_frontier, sitemap_parser
from roost.backend.kinds.crawl.sitemaps.sitemap_frontier import SitemapFrontier
from roost.backend.kinds.crawl.sitemaps.sitemap_parser import (
    BadSitemap,
    named_sitemaps,
    read_sitemap,
)
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.wire.codec import pack
from tests.kinds.crawl.crawling import crawl, runners
from tests.kinds.crawl.site import Answer, page, robots, serve

URL = "http://h/maps/a.xml"
OPENING = b'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'


def urlset(*locations: str) -> bytes:
    urls = "".join(f"<url><loc>{location}</loc><priority>1</priority></url>" for location in locations)
    return OPENING + urls.encode() + b"</urlset>"


def index(*locations: str) -> bytes:
    maps = "".join(f"<sitemap><loc>{location}</loc></sitemap>" for location in locations)
    return b"<sitemapindex>" + maps.encode() + b"</sitemapindex>"


@pytest.mark.parametrize(
    ("body", "pages"),
    [
        (
            urlset("http://h/1", " http://h/2\n", "http://h/1", "", "mailto:x", "3", "http://h/a?b&amp;c#part"),
            "1 2 3 4",
        ),
        (urlset("<![CDATA[http://h/1]]>", "http://h/<!-- -->2"), "1 2"),
        (b"\xef\xbb\xbf" + urlset("http://h/1"), "1"),
        (
            '<?xml version="1.0" encoding="utf-16"?><urlset><url><loc>http://h/1</loc></url></urlset>'.encode("utf-16"),
            "1",
        ),
        (b'<?xml version="1.0" encoding="iso-8859-1"?><urlset><url><loc>http://h/\xe9</loc></url></urlset>', "e"),
        (b"<s:urlset xmlns:s='u'><s:url><s:loc>http://h/1</s:loc></s:url></s:urlset>", "1"),
        (
            OPENING
            + b"<url><i:image xmlns:i='i'><i:loc>http://h/no</i:loc></i:image><loc>http://h/1</loc></url></urlset>",
            "1",
        ),
        (b"http://h/1\r\nhttp://h/2\n\nnonsense\n", "1 2 n"),
        (OPENING + b"</urlset>", ""),
    ],
)
def test_a_sitemap_names_pages(body: bytes, pages: str) -> None:
    places = {"3": "http://h/maps/3", "4": "http://h/a?b&c", "e": "http://h/%C3%A9", "n": "http://h/maps/nonsense"}
    expected = [places.get(name, f"http://h/{name}") for name in pages.split()]
    for form in (body, gzip.compress(body)):
        found = read_sitemap(form, URL)
        assert (found.pages, found.maps, found.cut) == (expected, [], False)


def test_an_index_names_other_sitemaps() -> None:
    found = read_sitemap(index("http://h/1.xml", "/2.xml.gz", "http://h/1.xml"), URL)
    assert (found.pages, found.maps) == ([], ["http://h/1.xml", "http://h/2.xml.gz"])


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "nothing": b"",
    "a page": b"<!doctype html><title>Not found</title>",
    "a page in XML": b"<html><body/></html>",
    "a feed": b"<rss><channel><item><link>http://h/1</link></item></channel></rss>",
    "not closed": OPENING + b"<url><loc>http://h/1</loc>",
    "a billion laughs": f'<!DOCTYPE urlset [<!ENTITY a0 "ha">{LAUGHS}]>'.encode() + urlset("&a9;"),
    "an entity that reads a file": b'<!DOCTYPE urlset [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + urlset("&f;"),
    "a document type elsewhere": b'<!DOCTYPE urlset SYSTEM "http://127.0.0.1:1/x.dtd">' + urlset("http://h/1"),
    "an entity of nobody's": urlset("&unheard;"),
    "depth": b"<urlset>" + b"<url>" * 1_000_000,
    "an encoding that is none": b'<?xml version="1.0" encoding="rot13"?><urlset/>',
    "an unknown encoding": b'<?xml version="1.0" encoding="no-such"?><urlset/>',
    "NULs": bytes(1000),
    "gzip that is none": b"\x1f\x8b" + bytes(100),
    "gzip that ends early": gzip.compress(random.Random(1).randbytes(1000))[:500],
    "gzip in gzip": gzip.compress(gzip.compress(urlset("http://h/1"))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_sitemap_is_refused(name: str) -> None:
    with pytest.raises(BadSitemap):
        read_sitemap(HOSTILE[name], URL)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: OPENING + tail))
def test_any_bytes_are_a_sitemap_or_none(body: bytes) -> None:
    with contextlib.suppress(BadSitemap):
        assert all(url.startswith("http") for url in read_sitemap(body, URL).pages)


def test_a_bomb_is_read_as_far_as_a_sitemap_may_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemap_parser, "SITEMAP_BYTES", 1000)
    bomb = gzip.compress(OPENING + b"<url><loc>http://h/1</loc></url>" + b" " * 10_000_000 + b"</urlset>")
    found = read_sitemap(bomb, URL)
    assert (found.pages, found.cut) == (["http://h/1"], True)


def test_of_too_many_urls_the_first_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemap_parser, "MAX_URLS", 3)
    found = read_sitemap(urlset(*(f"http://h/{n}" for n in range(5))), URL)
    assert (len(found.pages), found.cut) == (3, True)
    monkeypatch.setattr(sitemap_parser, "MAX_CHARS", 25)
    assert len(read_sitemap(urlset(*(f"http://h/{n}" for n in range(5))), URL).pages) == 2


def test_robots_txt_names_sitemaps_wherever_they_stand() -> None:
    text = (
        b"User-agent: x\nsitemap:http://h/1.xml\nDisallow: /\n  SiteMap : /2.xml\r\nSitemaps: /3\nSitemap: mailto:x\n"
    )
    assert named_sitemaps(text, "http://h") == ["http://h/1.xml", "http://h/2.xml"]
    many = b"".join(b"Sitemap: /%d\n" % n for n in range(1000))
    assert len(named_sitemaps(many, "http://h")) == sitemap_parser.MAX_NAMED


def test_each_sitemap_is_read_once_and_not_too_many_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemap_frontier, "MOST_SITEMAPS", 4)
    heard = SitemapFrontier("http://h/d/p?q")
    assert heard.of_site(["http://h/1"]) == ["http://h/1", "http://h/sitemap.xml"]
    assert heard.is_guess("http://h/sitemap.xml")
    assert heard.news(["http://h/1", "http://h/2", "http://h/2"]) == ["http://h/2"]
    cuts = [heard.is_cut]
    assert heard.news(["http://h/3", "http://h/4"]) == ["http://h/3"]
    assert [*cuts, heard.is_cut] == [False, True]
    assert not SitemapFrontier("http://h/").is_guess("http://h/other")


async def test_what_sitemaps_name_is_crawled_as_if_the_start_page_linked_to_it() -> None:
    big = urlset(*(f"/big/{n}" for n in range(3000)))
    assert len(big) > INLINE_SITEMAP_BYTES
    async with serve({}) as site, runners(cache=MemoryCache()) as workers:
        pages: dict[str, Answer] = {
            "": page("/a", "/x"),
            "x": page("/y"),
            "hidden": page("/deep"),
            "robots.txt": robots("Sitemap: /maps/index\nSitemap: /maps/gone\nSitemap: http://o.example/map"),
            "sitemap.xml": web.Response(body=urlset("/hidden", "/a", "http://o.example/"), content_type="text/xml"),
            "maps/index": web.Response(body=index("/maps/zipped", "/maps/index", "/maps/page")),
            "maps/zipped": web.Response(body=gzip.compress(big), content_type="application/gzip"),
            "maps/page": page("/not-from-a-sitemap"),
        }
        site.pages.update(pages)
        spec = CrawlSpec(site.url, depth=2, sitemaps=True, detail=True, exclude=("/big/*",))
        for again in range(2):
            result = await crawl(spec, workers)
            start, first, second = ([url.removeprefix(site.url) for url in level] for level in result.levels)
            assert start == [""]
            assert first == ["a", "x", "hidden", "http://o.example/", *(f"big/{n}" for n in range(3000))]
            assert second == ["y", "deep"]
            assert result.sitemaps == 3
            assert [pair for pair in result.failed if "/a" not in pair[0]] == [
                (site.url + "maps/gone", "status_404"),
                (site.url + "maps/page", "bad_sitemap"),
            ]
            assert ("http://o.example/map", "scope") in result.skipped
            assert result.parents is not None
            assert site.url + "hidden" not in result.parents, "no page links to it"
            assert (again == 0) is ("maps/zipped" in site.asked())


async def test_a_site_without_sitemaps_is_crawled_all_the_same() -> None:
    async with serve({"": page("/a"), "a": page()}) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=2, sitemaps=True), workers)
        assert (result.listed, result.failed, result.sitemaps) == (2, [], 0)


async def test_nobody_asks_for_sitemaps_unless_told_to() -> None:
    async with serve({"": page("/a"), "a": page()}) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=2), workers)
        assert "sitemap.xml" not in site.asked()
        assert result.sitemaps is None


def test_when_the_start_page_fails_nothing_more_is_asked() -> None:
    plan = CrawlPlan(CrawlSpec("http://h/", depth=3, sitemaps=True))
    start, site = plan.next_tasks(9)
    plan.fold(site.number, pack(PageResult("", maps=["http://h/map"])))
    plan.fold(start.number, pack(PageResult("", 404, "status_404")))
    assert plan.is_over()
    assert plan.next_tasks(9) == []
    assert plan.failure() is not None


def test_few_sitemaps_are_out_at_a_time_and_none_is_counted_as_a_page() -> None:
    plan = CrawlPlan(CrawlSpec("http://h/", depth=1, max_pages=1, sitemaps=True))
    start, site = plan.next_tasks(9)
    plan.fold(start.number, pack(PageResult("http://h/", 200)))
    plan.fold(site.number, pack(PageResult("", maps=[f"http://h/map{n}" for n in range(50)])))
    tasks = plan.next_tasks(9)
    assert len(tasks) == sitemap_frontier.AT_ONCE + 1
    assert {wants.source for task in tasks if (wants := read_page_task(task.payload).wants)} == {Source.SITEMAP}
    plan.give_up(tasks[0].number, "gave_up")
    assert len(plan.next_tasks(9)) == 1
