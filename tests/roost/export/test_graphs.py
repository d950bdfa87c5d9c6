"""What other programs read of a crawl they read right, whatever strangers wrote into it."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.kinds.crawl.output.crawl_result import CrawlResult, PageDetail
from roost.export import sitemap_xml as sitemaps
from roost.export.formats import Format, write_as
from roost.wire.messages.outcome import Outcome

HOME, ODD, AWAY = "https://a.example/", "https://a.example/?q=\"\\&<>'", "https://c.example/"
GRAPHML = "{http://graphml.graphdrawing.org/xmlns}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
RESULT = CrawlResult(
    url=HOME,
    depth=1,
    outcome=Outcome.DONE,
    truncated=False,
    levels=[[HOME], [ODD, AWAY]],
    fetched=1,
    failed=[(ODD, 'a "reason" <b>\x00')],
    skipped=[(AWAY, "scope")],
    elapsed_s=0.5,
    parents={ODD: HOME, AWAY: HOME},
    pages={HOME: PageDetail(HOME, 200, "", "text/html", 10, 0.25), ODD: PageDetail(ODD, 0)},
    links={HOME: [HOME, ODD, AWAY]},
)


def text(result: CrawlResult, form: Format) -> str:
    return b"".join(write_as(result, form)).decode()


def test_an_edge_list_has_a_line_for_each_link() -> None:
    assert text(RESULT, Format.EDGES).splitlines() == [f"{HOME} {target}" for target in (HOME, ODD, AWAY)]


def test_dot_quotes_what_would_end_its_strings() -> None:
    quoted = '"https://a.example/?q=\\"\\\\&<>\'"'
    lines = text(RESULT, Format.DOT).splitlines()
    assert lines[0] == "digraph crawl {"
    assert lines[-1] == "}"
    assert f'  "{HOME}" -> {quoted};' in lines
    assert f'  "{HOME}" [URL="{HOME}" level=0];' in lines
    assert any(line.startswith(f"  {quoted} [URL={quoted} level=1 tooltip=") for line in lines)


def test_graphml_has_nodes_with_what_is_known_and_edges_between_them() -> None:
    graph = ElementTree.fromstring(text(RESULT, Format.GRAPHML)).find(f"{GRAPHML}graph")
    assert graph is not None
    nodes = {
        node.attrib["id"]: {data.attrib["key"]: data.text for data in node} for node in graph.iter(f"{GRAPHML}node")
    }
    assert list(nodes.values()) == [
        {"url": HOME, "level": "0", "status": "200", "type": "text/html", "bytes": "10", "time_s": "0.25"},
        {"url": ODD, "level": "1", "outcome": "failed", "reason": 'a "reason" <b>\ufffd'},
        {"url": AWAY, "level": "1", "outcome": "skipped", "reason": "scope"},
    ]
    edges = [(nodes[e.attrib["source"]]["url"], nodes[e.attrib["target"]]["url"]) for e in graph.iter(f"{GRAPHML}edge")]
    assert edges == [(HOME, HOME), (HOME, ODD), (HOME, AWAY)]


@given(st.text(), st.text())
def test_any_text_makes_well_formed_xml(url: str, reason: str) -> None:
    pages = {url: PageDetail(url, 200, "", "text/html")}
    result = CrawlResult(url, 0, Outcome.DONE, False, [[url]], 0, [(url, reason)], [], 0.0, {}, pages, {url: [url]})
    for form in (Format.GRAPHML, Format.SITEMAP):
        ElementTree.fromstring(text(result, form))


def locations(result: CrawlResult) -> list[str | None]:
    return [loc.text for loc in ElementTree.fromstring(text(result, Format.SITEMAP)).iter(f"{SITEMAP}loc")]


def test_a_sitemap_names_the_pages_of_the_site_that_are_there_by_the_name_they_want() -> None:
    def page(
        path: str, status: int = 200, landed: str = "", kind: str = "text/html", canonical: str = ""
    ) -> PageDetail:
        return PageDetail(HOME + path, status, landed, kind, canonical=canonical)

    pages = [
        page(""),
        page("a", canonical=HOME + "a"),
        page("other-name", canonical=HOME + "a"),
        page("gone", 404),
        page("x.pdf", kind="application/pdf"),
        page("old", landed=HOME + "a"),
        page("older", landed=HOME + "only-by-redirect"),
        page("away", landed=AWAY),
        page("x&y"),
        PageDetail(AWAY, 200, "", "text/html"),
    ]
    result = replace(RESULT, pages={page.url: page for page in pages})
    assert locations(result) == [HOME, HOME + "a", HOME + "only-by-redirect", HOME + "x&y"]


def test_a_site_that_moves_its_start_page_is_mapped_where_it_went() -> None:
    moved = {HOME: PageDetail(HOME, 200, "https://www.a.example/", "text/html")}
    assert locations(replace(RESULT, pages=moved)) == ["https://www.a.example/"]


def test_a_sitemap_has_no_more_than_the_protocol_allows_and_says_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sitemaps, "MOST_URLS", 2)
    pages = {f"{HOME}{n}": PageDetail(f"{HOME}{n}", 200, "", "text/html") for n in range(3)}
    assert len(locations(replace(RESULT, pages=pages))) == 2
    assert "the first 2 of 3 pages" in text(replace(RESULT, pages=pages), Format.SITEMAP)


@pytest.mark.parametrize("form", [Format.EDGES, Format.DOT, Format.GRAPHML, Format.SITEMAP, Format.HTML])
def test_a_crawl_that_was_interrupted_before_it_told_anything_is_well_formed(form: Format) -> None:
    nothing = CrawlResult(HOME, 1, Outcome.CANCELLED, True, [[HOME]], 0, [], [], 0.0)
    written = text(nothing, form)
    if form in (Format.GRAPHML, Format.SITEMAP):
        ElementTree.fromstring(written)
