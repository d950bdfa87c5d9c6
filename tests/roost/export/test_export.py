from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.kinds.crawl.output.crawl_result import BrokenLink, CrawlResult, PageDetail
from roost.export.formats import FORMULA_STARTS, Format, write_as
from roost.wire.messages.outcome import Outcome

RESULT = CrawlResult(
    url="https://a.example/",
    depth=1,
    outcome=Outcome.DONE,
    truncated=False,
    levels=[["https://a.example/"], ["https://a.example/b", "https://c.example/", "https://a.example/d"]],
    fetched=1,
    failed=[("https://a.example/b", "status_404"), ("https://elsewhere.example/", "timeout")],
    skipped=[("https://c.example/", "scope")],
    elapsed_s=0.5,
)
DETAILED = replace(
    RESULT,
    parents={"https://a.example/b": "https://a.example/", "https://c.example/": "https://a.example/"},
    pages={
        "https://a.example/": PageDetail("https://a.example/", 200, "", "text/html", 1234, 0.5, "https://a.example/"),
        "https://a.example/b": PageDetail("https://a.example/b", 404),
        "https://a.example/d": PageDetail("https://a.example/d", 200, "https://a.example/e", "text/css"),
    },
)
NOTHING = CrawlResult("https://a.example/", 1, Outcome.CANCELLED, True, [], 0, [], [], 0.0)


def text(result: CrawlResult, form: Format) -> str:
    return b"".join(write_as(result, form)).decode()


def test_a_tree_is_indented_by_level_and_says_why_pages_are_missing() -> None:
    assert text(RESULT, Format.TREE).splitlines() == [
        "level 0: 1",
        "  https://a.example/",
        "level 1: 3",
        "    https://a.example/b  [failed: status_404]",
        "    https://c.example/  [skipped: scope]",
        "    https://a.example/d",
        "elsewhere",
        "  https://elsewhere.example/  [failed: timeout]",
    ]


def test_json_is_the_result_as_documented() -> None:
    assert json.loads(text(RESULT, Format.JSON)) == {
        "url": "https://a.example/",
        "depth": 1,
        "outcome": "done",
        "truncated": False,
        "levels": RESULT.levels,
        "listed": 4,
        "fetched": 1,
        "failed": [
            {"url": "https://a.example/b", "reason": "status_404"},
            {"url": "https://elsewhere.example/", "reason": "timeout"},
        ],
        "skipped": [{"url": "https://c.example/", "reason": "scope"}],
        "elapsed_s": 0.5,
    }


def test_jsonl_has_one_object_for_each_url() -> None:
    assert [json.loads(line) for line in text(RESULT, Format.JSONL).splitlines()] == [
        {"url": "https://a.example/", "level": 0},
        {"url": "https://a.example/b", "level": 1, "outcome": "failed", "reason": "status_404"},
        {"url": "https://c.example/", "level": 1, "outcome": "skipped", "reason": "scope"},
        {"url": "https://a.example/d", "level": 1},
        {"url": "https://elsewhere.example/", "outcome": "failed", "reason": "timeout"},
    ]


def test_with_detail_a_tree_says_what_came_of_each_page() -> None:
    assert text(DETAILED, Format.TREE).splitlines()[1:6] == [
        "  https://a.example/  [200, text/html, 1,234 bytes, 0.500 s]",
        "level 1: 3",
        "    https://a.example/b  [failed: status_404, linked from https://a.example/]",
        "    https://c.example/  [skipped: scope]",
        "    https://a.example/d  [200, text/css, landed at https://a.example/e]",
    ]


def test_with_detail_lines_and_columns_have_it_and_json_has_pages() -> None:
    start, broken = map(json.loads, text(DETAILED, Format.JSONL).splitlines()[:2])
    assert start == {
        "url": "https://a.example/",
        "level": 0,
        "status": 200,
        "type": "text/html",
        "bytes": 1234,
        "time_s": 0.5,
        "canonical": "https://a.example/",
    }
    assert broken["parent"] == "https://a.example/"
    assert text(DETAILED, Format.CSV).splitlines()[:3] == [
        "url,level,outcome,reason,parent,status,type,bytes,time_s,landed,canonical",
        "https://a.example/,0,,,,200,text/html,1234,0.5,,https://a.example/",
        "https://a.example/b,1,failed,status_404,https://a.example/,404,,,,,",
    ]
    assert [page["status"] for page in json.loads(text(DETAILED, Format.JSON))["pages"]] == [200, 404, 200]


def test_what_was_selected_is_told_and_commands_no_terminal() -> None:
    pages = {RESULT.url: PageDetail(RESULT.url, 200, selected={"lead": ["one", "\x1b[2J=two"]})}
    selected = replace(RESULT, pages=pages, select=("lead",))
    assert text(selected, Format.TREE).splitlines()[2:4] == ["    lead: one", "    lead: ?[2J=two"]
    assert json.loads(text(selected, Format.JSONL).splitlines()[0])["lead"] == ["one", "\x1b[2J=two"]
    assert json.loads(text(selected, Format.JSON))["pages"][0]["selected"] == {"lead": ["one", "\x1b[2J=two"]}
    heads, line, *_ = text(selected, Format.CSV).splitlines()
    assert heads.endswith(",canonical,lead,trouble")
    assert "one | \x1b[2J=two" in line


def test_broken_links_are_told_with_the_pages_that_have_them() -> None:
    broken = [BrokenLink("https://a.example/b", "status_404", 3, ["https://a.example/", "https://c.example/"])]
    checked = replace(RESULT, broken=broken, checked=7)
    assert text(checked, Format.TREE).splitlines()[-4:] == [
        "broken: https://a.example/b  [status_404]",
        "  on https://a.example/",
        "  on https://c.example/",
        "  and on 1 more",
    ]
    told = json.loads(text(checked, Format.JSON))
    assert (told["checked"], told["broken"][0]["count"], len(told["broken"][0]["pages"])) == (7, 3, 2)
    (line,) = [line for line in map(json.loads, text(checked, Format.JSONL).splitlines()) if "named_by" in line]
    assert line["named_by"] == broken[0].pages
    assert "https://a.example/b,1,failed,status_404,https://a.example/ https://c.example/" in text(checked, Format.CSV)


def test_csv_has_the_same_in_columns() -> None:
    assert text(RESULT, Format.CSV).splitlines() == [
        "url,level,outcome,reason",
        "https://a.example/,0,,",
        "https://a.example/b,1,failed,status_404",
        "https://c.example/,1,skipped,scope",
        "https://a.example/d,1,,",
        "https://elsewhere.example/,,failed,timeout",
    ]


@given(st.text(), st.text())
def test_no_cell_of_a_csv_is_a_formula_and_nothing_else_changes(url: str, reason: str) -> None:
    result = CrawlResult("u", 0, Outcome.DONE, False, [[url]], 0, [(url, reason)], [], 0.0)
    (_, row) = list(csv.reader(io.StringIO(text(result, Format.CSV), newline="")))
    for cell, meant in ((row[0], url), (row[3], reason)):
        assert not cell.startswith(FORMULA_STARTS)
        assert cell in (meant, f"'{meant}")


@pytest.mark.parametrize("form", Format)
def test_a_result_without_anything_is_still_well_formed(form: Format) -> None:
    expected = {Format.TREE: "", Format.JSONL: "", Format.CSV: "url,level,outcome,reason\r\n"}
    assert text(NOTHING, form) == expected.get(form, text(NOTHING, form))
    if form is Format.JSON:
        assert json.loads(text(NOTHING, form))["levels"] == []
