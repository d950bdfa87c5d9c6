"""Two checkouts compared in turns."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.before import compare, rows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_difference_is_one_only_beyond_the_spread_of_the_other_checkouts_turns() -> None:
    there = {("a", "µs"): [10.0, 12.0, 11.0], ("b", "µs"): [10.0, 10.0, 10.1], ("c", "gone"): [1.0]}
    here = {("a", "µs"): [11.9, 12.9, 13.0], ("b", "µs"): [9.0, 9.1, 9.0], ("d", "new"): [1.0]}
    assert [(row["row"], row["before"], row["now"], row["verdict"]) for row in rows(there, here)] == [
        ("a", 11.0, 12.9, "the same"),
        ("b", 10.0, 9.0, "lower"),
        ("c", 1.0, None, "only before"),
        ("d", None, 1.0, "only now"),
    ]


def test_a_folder_that_is_no_checkout_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no checkout that was set up"):
        bench.main(["wire", "--before", str(tmp_path)])


def test_a_benchmark_runs_in_both_and_what_it_found_is_compared(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for name in ("bench", "roost", "wire", "backend", "discovery", "gateway", "tests"):
        (before / name).symlink_to(ROOT / name)
    (before / ".venv/bin").mkdir(parents=True)
    (before / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (before / ".venv/bin/python").chmod(0o755)
    report = compare("wire", ["--rounds", "1"], before, turns=2)
    assert {row["figure"] for row in report.rows}
    assert all(row["before"] > 0 for row in report.rows if "bytes" in row["figure"])


def test_a_benchmark_that_fails_there_is_reported_with_its_words(tmp_path: Path) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text("#!/bin/sh\necho no such thing\nexit 3\n")
    (tmp_path / ".venv/bin/python").chmod(0o755)
    with pytest.raises(SystemExit, match=r"(?s)ended with 3.*no such thing"):
        compare("wire", [], tmp_path, turns=1)
