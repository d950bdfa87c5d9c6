"""What is extracted is what the page holds, bounded, and a page that makes it slow harms nobody."""

from __future__ import annotations

import pytest
from aiohttp import web
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.kinds.crawl import runner
from roost.backend.kinds.crawl.html.page import Page
from roost.backend.kinds.crawl.html.selection import (
    CUT,
    MAX_CSS_CHARS,
    MAX_CSS_CHARS_TOGETHER,
    MAX_PAGE_CHARS,
    MAX_SELECTIONS,
    MAX_VALUE_CHARS,
    MAX_VALUES,
    RESERVED,
    checked_selections,
    extract,
)
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.export.rows import ALWAYS, DETAIL, TROUBLE
from tests.kinds.crawl.crawling import crawl, runners
from tests.kinds.crawl.site import Answer, page, serve

HTML = """<title> A &amp; B </title><h1>One <i>two</i>
three</h1><p class="x y">p</p><a href=/a rel="next up">n</a><a>no</a><ul><li>1<li>2</ul>"""


@pytest.mark.parametrize(
    ("css", "values"),
    [
        ("title", ["A & B"]),
        ("h1", ["One two three"]),
        ("h1::text", ["One two three"]),
        ("p::attr(class)", ["x y"]),
        ("a::attr( href )", ["/a"]),
        ("a::attr(rel)", ["next up"]),
        ("a, h1 > i", ["two", "n", "no"]),
        ("a:not([href])", ["no"]),
        ("em", []),
    ],
)
def test_a_selector_means_the_text_or_an_attribute_of_what_it_matches(css: str, values: list[str]) -> None:
    assert extract(HTML.encode(), "text/html", "http://h/", checked_selections({"it": css})) == {"it": values}


def test_a_page_is_read_in_its_encoding_and_its_tree_made_once() -> None:
    read = Page("<h1>é</h1><a href=x>".encode("latin-1"), "text/html; charset=iso-8859-1", "http://h/")
    assert isinstance(read.soup, BeautifulSoup)
    assert read.soup is read.soup
    assert read.soup.h1 is not None
    assert read.soup.h1.text == "é"
    assert read.links.urls == ["http://h/x"]


def test_values_are_bounded_in_number_and_length() -> None:
    many = b"<p>x</p>" * (MAX_VALUES + 5)
    assert len(extract(many, "text/html", "http://h/", {"p": "p"})["p"]) == MAX_VALUES
    long = b"<p>" + b"x" * (MAX_VALUE_CHARS + 1) + b"</p>"
    assert extract(long, "text/html", "http://h/", {"p": "p"})["p"] == ["x" * MAX_VALUE_CHARS + CUT]
    both = extract(long * 50, "text/html", "http://h/", {"p": "p", "q": "p"})
    assert sum(map(len, both["p"])) <= MAX_PAGE_CHARS + MAX_VALUES


@given(st.binary(max_size=300))
def test_any_page_gives_texts_that_can_be_sent(body: bytes) -> None:
    for values in extract(body, "text/html", "http://h/", {"all": "*", "href": "a::attr(href)"}).values():
        for value in values:
            value.encode()


@pytest.mark.parametrize(
    ("name", "css", "advice"),
    [
        ("", "h1", "letters"),
        ("two words", "h1", "letters"),
        ("x" * 65, "h1", "letters"),
        ("url", "h1", "another name"),
        ("it", "", "CSS selector"),
        ("it", "h1 >", "CSS selector"),
        ("it", "::attr(href)", "CSS selector"),
        ("it", "a::before", "CSS selector"),
        ("it", ":unheard-of(x)", "CSS selector"),
        ("it", "a\n", "printable"),
        ("it", "a\ud800", "printable"),
        ("it", "a" * (MAX_CSS_CHARS + 1), "at most"),
        ("it", ":not(" * 99, "CSS selector"),
        ("it", "div[", "attribute is missing"),
        ("it", "[" + "\\aaaaaa" * 9, "no character"),
        ("it", "[" + "\\a" * 200, "missing"),
    ],
)
def test_what_cannot_be_selected_is_refused_with_advice(name: str, css: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        checked_selections({name: css})


def test_too_many_selections_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        checked_selections({f"n{n}": "a" for n in range(MAX_SELECTIONS + 1)})
    most = {f"n{n}": "a" * MAX_CSS_CHARS for n in range(MAX_CSS_CHARS_TOGETHER // MAX_CSS_CHARS)}
    assert checked_selections(most) == most
    with pytest.raises(ValueError, match="characters together"):
        checked_selections({**most, "more": "a"})


def test_no_name_hides_what_results_have_already() -> None:
    assert {*ALWAYS, *DETAIL, "named_by", TROUBLE} <= RESERVED


def html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")


async def test_each_page_comes_with_what_was_selected_once_for_all_who_select_the_same() -> None:
    pages = {
        "": html("<h1>Start</h1><a href=/a>a</a><a href=/pic>p</a><a href=/gone>g</a>"),
        "a": html("<h1>A</h1><h1>B</h1>"),
        "pic": web.Response(body=b"GIF", content_type="image/gif"),
    }
    async with serve(dict(pages)) as site, runners(cache=MemoryCache()) as workers:
        spec = CrawlSpec(site.url, depth=2, select={"title": "h1"})
        for asked in (["", "a", "gone", "pic"], ["gone"]):
            result = await crawl(spec, workers)
            assert {url.removeprefix(site.url): page.selected for url, page in (result.pages or {}).items()} == {
                "": {"title": ["Start"]},
                "a": {"title": ["A", "B"]},
                "pic": None,
                "gone": None,
            }
            assert result.select == ("title",)
            assert sorted(site.asked()) == asked
        other = await crawl(CrawlSpec(site.url, depth=1, select={"link": "a::attr(href)"}), workers)
        assert (other.pages or {})[site.url].selected == {"link": ["/a", "/pic", "/gone"]}


@pytest.mark.slow
async def test_a_selector_that_nobody_checked_costs_its_crawl_the_extraction_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after an update of Soup Sieve, or of what checks."""
    monkeypatch.setattr(runner, "SELECT_S", 2.0)
    async with serve({"": page("/a"), "a": page()}) as site, runners() as workers:
        for css, trouble in (("h1 >", "bad_selector"), ("[" + "\\a" * 200, "too_slow")):
            result = await crawl(CrawlSpec(site.url, depth=1, select={"it": css}), workers)
            told = (result.pages or {})[site.url]
            assert (told.selected, told.trouble) == (None, trouble)
            assert result.levels[1] == [site.url + "a"]


@pytest.mark.slow
async def test_a_page_that_takes_too_long_to_read_says_so_and_has_its_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SELECT_S", 2.0)
    slow = "<a href=/next>n</a>" + "<div class=x>" * 200_000
    pages: dict[str, Answer] = {"": html("<a href=/slow>s</a><a href=/b>b</a>"), "slow": html(slow), "b": page()}
    async with serve(pages) as site, runners() as workers:
        result = await crawl(CrawlSpec(site.url, depth=2, select={"all": "div div div"}), workers)
        told = (result.pages or {})[site.url + "slow"]
        assert (told.selected, told.trouble) == (None, "too_slow")
        assert result.levels[2] == [site.url + "next"]
        assert (result.pages or {})[site.url + "b"].selected == {"all": []}
