from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report import Report


def test_a_report_has_the_medians_in_its_table_and_every_round_in_its_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("Echo", remarks=["remarked"])
    rounds = [{"messages/s": rate, "CPU µs": 1.5} for rate in (1000.0, 123456.0, 3000.0)]
    report.add_rounds({"ours": rounds})
    file = tmp_path / "made" / "echo.json"
    report.publish(file)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "## Echo"
    assert said[2:5] == ["| server | messages/s | CPU µs |", "| --- | ---: | ---: |", "| ours | 3,000 | 1.50 |"]
    assert "- remarked" in said
    written = json.loads(file.read_text())
    assert written["rows"] == [{"server": "ours", "messages/s": 3000.0, "CPU µs": 1.5}]
    assert written["rounds"] == {"ours": rounds}


def test_a_report_of_nothing_says_so() -> None:
    assert "nothing measured" in Report("Echo").markdown()


def test_a_missed_goal_fails_the_report_and_is_named() -> None:
    report = Report("Leave", rows=[{"server": "ours"}])
    report.require("nobody is reset", True)
    assert "verdict: passed" in report.markdown()
    report.require("all within the window", False)
    assert report.has_failed
    assert "verdict: FAILED" in report.markdown()
    assert "- met: nobody is reset\n- MISSED: all within the window\n" in report.markdown()
    assert json.loads(report.as_json())["goals"] == {"nobody is reset": True, "all within the window": False}


def test_a_goal_once_missed_stays_missed() -> None:
    report = Report("Leave")
    report.require("nobody is reset", False)
    report.require("nobody is reset", True)
    assert report.has_failed
    assert "verdict: FAILED" in report.markdown()


def test_a_report_without_goals_cannot_fail_and_has_no_verdict() -> None:
    report = Report("Echo", rows=[{"server": "ours"}])
    assert not report.has_failed
    assert "verdict" not in report.markdown()
