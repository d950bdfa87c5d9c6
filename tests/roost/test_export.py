from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.kinds.crawl.result import CrawlResult
from roost.export import FORMULA_STARTS, CannotWrite, Format, Target, write_as
from wire.messages.outcome import Outcome

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


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    target = Target(path)
    assert not path.exists()
    with pytest.raises(ZeroDivisionError):
        target.write(bytes([1 // n]) for n in (1, 0))
    assert not path.exists()
    target.write([b"whole"])
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_result_that_did_not_come_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    Target(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_of_a_replaced_file_stays_and_a_link_is_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "out", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    Target(link).write([b"new"])
    assert (path.read_bytes(), path.stat().st_mode & 0o777, link.is_symlink()) == (b"new", 0o640, True)


def test_a_device_is_written_as_it_is() -> None:
    Target(Path("/dev/null")).write([b"x"])
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("path", "reason"), [("no/such/out", "no such file or directory"), (".", "it is a folder"), ("x" * 300, "too long")]
)
def test_a_place_that_cannot_be_written_is_known_before_the_crawl(tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(CannotWrite, match=reason):
        Target(tmp_path / path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_or_file_is_known_before_the_crawl(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "file").chmod(0o400)
    with pytest.raises(CannotWrite, match="read-only"):
        Target(tmp_path / "file")
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite, match="permission denied"):
        Target(tmp_path / "new")
