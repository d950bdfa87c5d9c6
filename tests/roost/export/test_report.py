"""A report is one file that people can read and strangers cannot use."""

from __future__ import annotations

from dataclasses import replace

import html5lib
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.backend.kinds.crawl.output.crawl_result import BrokenLink, CrawlResult, PageDetail
from roost.export.formats import Format, write_as
from roost.export.html_report import MOST_SLOW, OPEN_ROWS, POLICY
from roost.wire.messages.outcome import Outcome

HOME = "https://a.example/"
RESULT = CrawlResult(
    url=HOME,
    depth=1,
    outcome=Outcome.DONE,
    truncated=False,
    levels=[[HOME], [HOME + "b", HOME + "c", "https://o.example/"]],
    fetched=2,
    failed=[(HOME + "b", "status_404")],
    skipped=[("https://o.example/", "scope")],
    elapsed_s=0.5,
    parents={HOME + "b": HOME, HOME + "c": HOME},
    pages={
        HOME: PageDetail(HOME, 200, "", "text/html", 1234567, 0.25),
        HOME + "b": PageDetail(HOME + "b", 404),
        HOME + "c": PageDetail(HOME + "c", 200, HOME + "d", "text/html", 5, 0.125),
    },
    broken=[BrokenLink(HOME + "b", "status_404", 3, [HOME, HOME + "c"])],
    checked=1,
)


def soup(result: CrawlResult) -> BeautifulSoup:
    return BeautifulSoup(b"".join(write_as(result, Format.HTML)), "html.parser")


def table(page: BeautifulSoup, title: str) -> list[list[str]]:
    region = page.select_one(f'[aria-label="{title}"]')
    assert region is not None
    return [[cell.get_text(" ", strip=True) for cell in line.find_all(["td", "th"])] for line in region.find_all("tr")]


def test_it_tells_what_was_found() -> None:
    page = soup(RESULT)
    assert page.title is not None
    assert page.title.text == f"Crawl of {HOME}"
    figures = {d.dt.text: d.dd.text for d in page.select(".figures div") if d.dt and d.dd}
    assert figures == {
        "URLs listed": "4",
        "Pages fetched": "2",
        "Pages checked": "1",
        "Broken links": "1",
        "Failed": "1",
        "Skipped": "1",
    }
    assert table(page, "Levels")[1:] == [["0", "1", "0", "0", ""], ["1", "3", "1", "1", ""]]
    assert table(page, "Broken links")[1] == [HOME + "b", "status_404", f"{HOME} {HOME}c and 1 more"]
    assert table(page, "Failed")[1:] == [["status_404", "1"]]
    assert table(page, "Skipped")[1:] == [["scope", "1"]]
    assert table(page, "Level 0") == [
        ["URL", "Status", "Type", "Bytes", "Seconds"],
        [HOME, "200", "text/html", "1,234,567", "0.250"],
    ]
    heads, broken, there, away = table(page, "Level 1")
    assert heads == ["URL", "What came of it", "Linked from", "Status", "Type", "Bytes", "Seconds", "Redirects to"]
    assert broken == [HOME + "b", "failed: status_404", HOME, "404", "", "", "", ""]
    assert there == [HOME + "c", "", HOME, "200", "text/html", "5", "0.125", HOME + "d"]
    assert away == ["https://o.example/", "skipped: scope", "", "", "", "", "", ""]


def test_it_says_when_something_is_missing_or_when_no_link_is_broken() -> None:
    assert "Incomplete" in soup(replace(RESULT, truncated=True)).text
    assert "Incomplete" not in soup(RESULT).text
    assert "None were found." in soup(replace(RESULT, broken=[])).text
    assert "Broken links" not in soup(replace(RESULT, broken=None)).text


def test_large_levels_are_folded_and_the_slowest_pages_are_named() -> None:
    urls = [f"{HOME}{n}" for n in range(OPEN_ROWS + 1)]
    pages = {url: PageDetail(url, 200, "", "text/html", 1, float(n)) for n, url in enumerate(urls)}
    page = soup(replace(RESULT, levels=[[HOME], urls], pages=pages, failed=[], skipped=[]))
    assert [details.has_attr("open") for details in page.find_all("details")] == [True, False]
    slow = table(page, "Slowest pages")[1:]
    assert [url for url, _ in slow] == urls[: -MOST_SLOW - 1 : -1]


def test_it_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    page = soup(RESULT)
    assert not page.find_all(["script", "img", "link", "iframe", "object", "embed", "form", "base"])
    assert not any(name.startswith("on") for tag in page.find_all(True) for name in tag.attrs)
    policy = page.select_one('meta[http-equiv="Content-Security-Policy"]')
    assert policy is not None
    assert policy["content"] == POLICY
    style = page.style.text if page.style else ""
    assert "url(" not in style
    assert "@import" not in style


def test_it_can_be_read_without_eyes() -> None:
    page = soup(RESULT)
    assert page.html is not None
    assert page.html["lang"] == "en"
    assert page.find("main") is not None
    assert all(region.get("aria-label") for region in page.find_all(role="region"))
    assert all(head.get("scope") for head in page.find_all("th"))
    assert [heading.name for heading in page.find_all(["h1", "h2"])].count("h1") == 1


def test_its_html_has_no_error() -> None:
    html5lib.HTMLParser(strict=True).parse(b"".join(write_as(RESULT, Format.HTML)).decode())


HOSTILE = [
    "javascript:alert(1)",
    "https://a.example/\"onmouseover='alert(1)'",
    "https://a.example/<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "\x1b[2J\u202ehttps://b.example\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_strangers_wrote_is_text_and_nothing_else(text: str) -> None:
    assert_harmless(text)


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_any_text_is_text_and_nothing_else(text: str) -> None:
    assert_harmless(text)


def assert_harmless(text: str) -> None:
    result = CrawlResult(
        url=text,
        depth=0,
        outcome=Outcome.DONE,
        truncated=False,
        levels=[[text]],
        fetched=1,
        failed=[(text, text)],
        skipped=[(text + "x", text)],
        elapsed_s=0.0,
        parents={text: text},
        pages={text: PageDetail(text, 200, text, text, 1, 0.1, text)},
        broken=[BrokenLink(text, text, 1, [text])],
    )
    plain, hostile = soup(RESULT), soup(result)
    assert {tag.name for tag in hostile.find_all(True)} <= {tag.name for tag in plain.find_all(True)}
    known = {name for tag in plain.find_all(True) for name in tag.attrs}
    assert {name for tag in hostile.find_all(True) for name in tag.attrs} <= known
    assert all(str(link["href"]).startswith(("http://", "https://")) for link in hostile.find_all("a"))
    assert not any(c in hostile.text for c in "\x00\x1b\u202e")
