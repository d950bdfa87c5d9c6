from __future__ import annotations

from argparse import Namespace
from collections import Counter
from dataclasses import replace

import pytest

from bench.__main__ import main
from bench.load.leave import WINDOW_S, Leaving, judge, run
from bench.report import Report
from bench.support.clients.close_stats import CloseStats

pytestmark = pytest.mark.slow

TOLD_S = 100.0
COUNT = 1000


def gentle() -> Leaving:
    times_s = [TOLD_S + WINDOW_S / 2 * index / COUNT for index in range(COUNT)]
    farewells = CloseStats(codes=Counter({1012: COUNT}), times_s=times_s)
    return Leaving(farewells, held=0, told_s=TOLD_S, ended_s=TOLD_S + WINDOW_S / 2, status=0)


def missed(leaving: Leaving) -> list[str]:
    report = Report("Leave")
    judge(report, "ours", COUNT, leaving)
    return [goal for goal, is_met in report.goals.items() if not is_met]


def test_clients_sent_away_gently_are_a_pass() -> None:
    assert missed(gentle()) == []
    assert gentle().row()["peak %"] == pytest.approx(20, abs=0.2)


@pytest.mark.parametrize(
    ("farewells", "goal"),
    [
        ({"codes": Counter({1012: COUNT - 1})}, "each of 1,000 clients got close frame 1012"),
        ({"codes": Counter({1012: COUNT - 1, 1001: 1})}, "each of 1,000 clients got close frame 1012"),
        ({"resets": 1}, "no connection was reset or just ended"),
        ({"silent": 1}, "no connection was reset or just ended"),
        ({"times_s": [TOLD_S + 1] * COUNT}, "at most 25% of the close frames in any tenth of the window"),
        (
            {"times_s": [TOLD_S + WINDOW_S / 2 + WINDOW_S * index / COUNT for index in range(COUNT)]},
            "all within the window, and the process ended with status 0",
        ),
    ],
)
def test_one_client_that_is_sent_away_otherwise_fails_it(farewells: dict[str, object], goal: str) -> None:
    leaving = gentle()
    assert missed(replace(leaving, farewells=replace(leaving.farewells, **farewells))) == [f"ours: {goal}"]  # type: ignore[arg-type]


def test_a_process_that_ends_late_or_badly_and_a_client_that_is_left_behind_fail_it() -> None:
    in_time = "ours: all within the window, and the process ended with status 0"
    assert missed(replace(gentle(), status=1)) == [in_time]
    assert missed(replace(gentle(), ended_s=TOLD_S + WINDOW_S * 2)) == [in_time]
    assert missed(replace(gentle(), held=1)) == ["ours: no connection was reset or just ended"]


def test_nobody_sent_away_at_all_fails_it() -> None:
    leaving = replace(gentle(), farewells=CloseStats(silent=COUNT))
    assert len(missed(leaving)) == 2
    assert leaving.row()["peak %"] == 0


def test_a_gateway_sends_every_client_away_and_resets_none() -> None:
    report = run(Namespace(count=1000, only="roost"))
    (row,) = report.rows
    assert (row["closed 1012"], row["closed otherwise"], row["no close frame"], row["reset"]) == (1000, 0, 0, 0)
    assert row["exit status"] == 0
    assert row["first s"] < row["last s"] < row["process ended s"]


def test_what_cannot_be_measured_is_refused_before_anything_runs() -> None:
    with pytest.raises(SystemExit, match="not picows"):
        main(["leave", "--only", "picows"])
    with pytest.raises(SystemExit, match="at least 1000"):
        main(["leave", "--count", "10"])
