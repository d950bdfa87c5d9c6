"""The links of a page are those a browser would offer, whatever the page looks like."""

from __future__ import annotations

from pathlib import Path

import html5lib
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from selectolax.lexbor import LexborHTMLParser

from roost.backend.kinds.crawl.html.fast_tags import MOST_BYTES, plain_tags
from roost.backend.kinds.crawl.html.links import (
    MAX_LINK_CHARS,
    MAX_LINKS,
    MAX_REFERENCES,
    Links,
    canonical_link,
    html_links,
    page_links,
)
from roost.backend.kinds.crawl.html.tags import attribute, start_tags
from roost.backend.kinds.crawl.urls import join

PAGE = "http://h/d/p"


def links(html: str) -> list[str]:
    return html_links(html, PAGE).urls


def hrefs(html: str) -> list[str]:
    found = (attribute(text, "href") for name, text in start_tags(html) if name in ("a", "area"))
    return [href for href in found if href is not None]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("", []),
        ("plain text < more & more", []),
        ("<a href=x>", ["x"]),
        ("<A HREF=x>", ["x"]),
        ("<a\nhref\t=\r\n'x'>", ["x"]),
        ('<a href="x" href="y">', ["x"]),
        ("<a/href=x/>", ["x/"]),
        ("<a name=x><a title='href=y'><abbr href=z><link href=w>", []),
        ("<a href>", [""]),
        ("<a href=>", [""]),
        ('<a title="<a href=x>" href=y>', ["y"]),
        ("<a href=x\"y'z>", ["x\"y'z"]),
        ('<a ="y" href=x>', ["x"]),
        ("<a href=x=y>", ["x=y"]),
        ('<a href="x', []),
        ("<a href=x", []),
        ("<area href=x><a href=y>", ["x", "y"]),
        ("<!-- <a href=x> --><a href=y>", ["y"]),
        ("<!--><a href=x>", ["x"]),
        ("<!---><a href=x>", ["x"]),
        ("<!-- --!><a href=x>", ["x"]),
        ("<!-- -- > <a href=x>", []),
        ("<!doctype html><?php <a href=x>?><a href=y>", ["y"]),
        ("</ <a href=x><a href=y>", ["y"]),
        ("<script>'<a href=x>'</script><a href=y>", ["y"]),
        ("<script><!-- <script></script><a href=x> --></script><a href=y>", ["y"]),
        ("<script><!-- </script><a href=x>", ["x"]),
        ("<title><a href=x></title ><a href=y>", ["y"]),
        ("<textarea><a href=x></textarea/><a href=y>", ["y"]),
        ("<style></stylesheet><a href=x></STYLE><a href=y>", ["y"]),
        ("<noscript><a href=x></noscript>", ["x"]),
        ("<template><template></template><a href=x></template><a href=y>", ["y"]),
        ("<plaintext><a href=x>", []),
        ("<p><b><i><a href=x></p></b><table><a href=y>", ["x", "y"]),
        ("<a href='?a=1&amp;b=2'>", ["?a=1&b=2"]),
        ("<a href='?a=1&copy=2&copy'>", ["?a=1&copy=2©"]),
        ("<a href='?a=1&not2=3&nosuch;'>", ["?a=1&not2=3&nosuch;"]),
        ("<a href='&#x2F;&#47;h&#0;&#xD800;'>", ["//h\ufffd\ufffd"]),
        ("<a href='&#" + "9" * 5000 + "'>", ["\ufffd"]),
        ("<a href='x\0y'>", ["x\ufffdy"]),
    ],
)
def test_a_link_is_what_the_standard_calls_one(html: str, expected: list[str]) -> None:
    assert hrefs(html) == expected


@pytest.mark.parametrize(
    ("html", "base"),
    [
        ("<base href=/b/>", "http://h/b/"),
        ("<base target=x><base href=/b/><base href=/c/>", "http://h/b/"),
        ("<base href='http://['><base href=/c/>", PAGE),
        ("<base href='data:,x'>", PAGE),
        ("<base href='https://other/b/#x'>", "https://other/b/"),
        ("<template><base href=/b/></template>", PAGE),
        ("<!--<base href=/b/>-->", PAGE),
    ],
)
def test_the_first_base_counts_for_links_before_and_after_it(html: str, base: str) -> None:
    assert links(f"<a href=x>{html}<a href=y>") == [join(base, "x"), join(base, "y")]


def test_links_are_distinct_pages_of_the_web_in_document_order() -> None:
    html = (
        "<a href=b><a href='#b'><a href=a#1><a href=mailto:x><a href=' a '><a href=javascript:a><a href=HTTP://H/d/b>"
    )
    assert links(html) == ["http://h/d/b", PAGE, "http://h/d/a"]


def test_a_page_with_more_links_than_the_limit_is_cut() -> None:
    pages = [f"<a href={n}>" for n in range(MAX_LINKS + 1)]
    assert not html_links("".join(pages[:-1]), PAGE).cut
    cut = html_links("".join(pages), PAGE)
    assert cut.cut
    assert len(cut.urls) == MAX_LINKS


def test_a_page_with_huge_links_is_cut() -> None:
    cut = html_links("".join(f"<a href={n}{'x' * 7000}>" for n in range(1000)), PAGE)
    assert cut.cut
    assert sum(map(len, cut.urls)) <= MAX_LINK_CHARS


def test_a_page_with_endless_links_to_nowhere_is_cut() -> None:
    links = [f"<a href=mailto:{n}>" for n in range(MAX_REFERENCES + 1)]
    assert not html_links("".join(links[:-1]), PAGE).cut
    assert html_links("".join(links), PAGE).cut


WORDS = [
    "<a href=1>",
    "<a href='2'>",
    "<a name=x>",
    "</a>",
    "<area href=3>",
    '<A HREF="4" x>',
    "<b>",
    "</b>",
    "<p>",
    "</p>",
    "<div class='<a href=5>'>",
    "</div>",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "<title>",
    "</title>",
    "<textarea>",
    "</textarea>",
    "<style>",
    "</style>",
    "text",
    "<",
    ">",
    '"',
    "'",
    "=",
    "/",
    "&amp;",
    "<!DOCTYPE html>",
    "<br/>",
    "<img alt=>",
    "</",
    "<!",
    "<?x>",
    "<iframe>",
    "</iframe>",
    "<noembed>",
    "</noembed>",
    " ",
    "\n",
    "<a\x0chref=6 ",
    "<a/href=7>",
]


def of_a_tree(html: str) -> list[str]:
    nodes = LexborHTMLParser(html).css("a[href],area[href]")
    return [node.attrs.get("href") or "" for node in nodes]


@pytest.mark.slow
@given(st.lists(st.sampled_from(WORDS), max_size=25).map("".join))
@settings(max_examples=600, deadline=None)
def test_any_soup_of_tags_has_the_links_that_two_tree_builders_find(html: str) -> None:
    found = set(hrefs(html))
    assert found == set(of_a_tree(html))
    assert found == {str(tag["href"]) for tag in BeautifulSoup(html, "html5lib").find_all(["a", "area"], href=True)}


@pytest.mark.slow
@given(st.text(alphabet="<>/!-\"'= ahref\n&#;x3scriptv\0", max_size=60))
@settings(max_examples=600, deadline=None)
def test_any_text_has_the_links_that_a_tree_builder_finds(text: str) -> None:
    html = text + "<!--x--><a href=end>"
    document = html5lib.parse(html, namespaceHTMLElements=False)
    expected = [node.get("href") for node in document.iter() if node.tag in ("a", "area") and "href" in node.attrib]
    assert set(hrefs(html)) == set(expected)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["/usr/share/doc/postgresql-doc-15/html", "/usr/share/doc/sqlite3"])
def test_on_a_real_site_every_page_has_the_links_of_its_tree(folder: str) -> None:
    pages = sorted(Path(folder).rglob("*.html"))
    assert len(pages) > 500
    for page in pages:
        html = page.read_text("utf-8", "replace")
        assert list(dict.fromkeys(hrefs(html))) == list(dict.fromkeys(of_a_tree(html))), page


@pytest.mark.slow
@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 1_000_000,
        "".join(f"<font color={n}><p>" for n in range(200_000)),
        "<a " + " ".join(f"x{n}" for n in range(500_000)) + " href=y>",
        "<" * 4_000_000,
        "<a" * 2_000_000,
        '<a "' * 1_000_000,
        "<!--" * 1_000_000,
        "<!" * 2_000_000,
        "<script><!--" * 300_000,
        "<title></titl" * 300_000,
        "<a href='" + "&" * 4_000_000 + "'>",
        "<a" + " " * 4_000_000,
        "<template>" * 400_000,
        "<script/" * 500_000,
        "charset=" * 500_000,
    ],
    ids=lambda html: html[:20],
)
@pytest.mark.timeout(60)
def test_a_hostile_page_costs_no_more_than_its_size(html: str) -> None:
    """A quadratic scan of these takes hours and meets the time limit of the test."""
    assert len(page_links(html.encode(), "application/xhtml+xml; charset=", PAGE).urls) <= 1


def test_a_short_script_tag_of_xhtml_swallows_nothing() -> None:
    page = b"<html><head><script src='x'/><title/></head><body><a href='y'/></body></html>"
    assert page_links(page, "application/xhtml+xml", PAGE).urls == ["http://h/d/y"]
    assert page_links(page, "text/html", PAGE).urls == []


@pytest.mark.parametrize(
    ("html", "unfollowed"),
    [
        ("<a href=x><a href=y>", []),
        ("<a href=x rel=nofollow><a href=y>", ["x"]),
        ("<a href=x rel='ugc NoFollow'><a href=y rel=nofollowed title=nofollow>", ["x"]),
        ("<a href=x rel=nofollow><a href='x#part'>", []),
        ("<a href=x><a href=./x rel=nofollow>", []),
        ("<a href=./x rel=nofollow><a href=x rel=nofollow>", ["x"]),
        ("<a href=x><meta name=robots content='noindex,nofollow'><area href=y>", ["x", "y"]),
        ("<META NAME=' Robots' CONTENT=NONE><a href=x>", ["x"]),
        ("<meta name=robots content=noindex><meta name=keywords content=nofollow><a href=x>", []),
        ("<template><meta name=robots content=nofollow></template><a href=x>", []),
        ("<main><mark><menu><meta name=robots content=nofollow><a href=x>", ["x"]),
    ],
)
def test_links_that_are_not_to_be_followed_are_listed_and_named(html: str, unfollowed: list[str]) -> None:
    found = html_links(html, PAGE)
    assert found.unfollowed == [join(PAGE, link) for link in unfollowed]
    assert set(found.unfollowed) <= set(found.urls)


@pytest.mark.parametrize(
    ("html", "canonical"),
    [
        ("<link rel=canonical href=x>", "x"),
        ("<LINK HREF=x REL='alternate CANONICAL'>", "x"),
        ("<link rel=canonical href='x#part'>", "x"),
        ("<link rel=canonical href='//o/p?q'>", "//o/p?q"),
        ("<base href=/b/><link rel=canonical href=x>", "/b/x"),
        ("<ul><li><link rel=next href=y><label><link rel=canonical href=x><link rel=canonical href=y>", "x"),
        ("<title><link rel=canonical href=x></title>", None),
        ("<!-- <link rel=canonical href=x> -->", None),
        ("<body><link rel=canonical href=x>", None),
        ("<BODY><link rel=canonical href=x>", None),
        ("<link rel=canonical><link rel=noncanonical href=x>", None),
        ("<link rel=canonical href='mailto:x'>", None),
        ("<link rel=canonical href='http://'>", None),
        ("<meta rel=canonical href=x><a rel=canonical href=x>", None),
    ],
)
def test_a_page_says_by_which_url_it_wants_to_be_known(html: str, canonical: str | None) -> None:
    found = page_links(html.encode(), "text/html", PAGE)
    assert found.canonical == ("" if canonical is None else join(PAGE, canonical))


@pytest.mark.parametrize(
    ("content", "target"),
    [
        ("0; url=x", "x"),
        ("0;URL = 'x y'z", "x y"),
        ('5 , url="x', "x"),
        (" .5 x", "x"),
        ("0.5;x", "x"),
        ("0", None),
        ("5;", None),
        ("; url=x", None),
        ("x", None),
        ("-1; url=x", None),
        ("0; url=", None),
        ("0; url=''", ""),
        ("0;" + " " * 100_000, None),
        ("1" * 100_000, None),
    ],
)
def test_a_page_that_refreshes_to_another_links_to_it(content: str, target: str | None) -> None:
    quoted = content.replace('"', "&quot;")
    html = f'<meta http-equiv=Refresh content="{quoted}"><meta name=refresh content="0; url=no"><a href=y>'
    expected = [] if target is None else [join(PAGE, target)]
    assert links(html) == [*expected, join(PAGE, "y")]


# --- the short way that plain pages take -------------------------------------------------------------

PLAIN_WORDS = [
    *WORDS,
    '<a href="8">',
    '<A HREF="9" class="k">',
    '<a b=c"d">',
    '<img alt="<a href=10>">',
    '<a href="11"y="z">',
    '<a data-href="12" hreflang="de" href="13#f">',
    '<a href="?a=1&amp;b">',
    '<base href="b/">',
    '<link rel="canonical" href="14">',
    '<a rel="nofollow" href="15">',
    '<meta name="robots" content="nofollow">',
    '<meta http-equiv="refresh" content="0; url=16">',
    "<template>",
    "</template>",
    "<!-- <a href=17> -->",
    "<script>'<a href=18>'</script>",
    "é",
    "\0",
]


def by_every_tag(body: bytes) -> Links:
    html = body.decode("utf-8", "replace")
    return structs.replace(html_links(html, PAGE), canonical=canonical_link(html, PAGE))


@pytest.mark.slow
@given(st.lists(st.sampled_from(PLAIN_WORDS), max_size=12).map("".join))
@settings(max_examples=1500, deadline=None)
def test_the_short_way_finds_what_reading_every_tag_finds(html: str) -> None:
    body = html.encode()
    assert page_links(body, "text/html; charset=utf-8", PAGE) == by_every_tag(body)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["/usr/share/doc/postgresql-doc-15/html", "/usr/share/doc/sqlite3"])
def test_on_a_real_site_the_short_way_is_the_usual_one_and_finds_the_same(folder: str) -> None:
    pages = [page.read_bytes() for page in sorted(Path(folder).rglob("*.html"))]
    assert sum(plain_tags(page) is not None for page in pages) > len(pages) * 0.6
    for page in pages:
        assert page_links(page, "text/html; charset=utf-8", PAGE) == by_every_tag(page)


@pytest.mark.parametrize(
    "html",
    [
        b"<a " * 80_000, b"<a href=" * 30_000, b'<a b="' * 40_000, b"<!--" * 60_000, b"<script" * 35_000,
        b'="\'' * 80_000,
        b"<title>" * 35_000, b"<a " + b"x " * 120_000 + b">", b'<a href="' + b"=" * 250_000, b"<img " * 50_000,
    ],
    ids=range(10),
)  # fmt: skip
def test_a_page_that_is_not_plain_says_so_in_time_that_grows_with_its_size(html: bytes) -> None:
    assert len(html) <= MOST_BYTES
    assert plain_tags(html) is None or html.startswith((b'="', b"<a x"))
