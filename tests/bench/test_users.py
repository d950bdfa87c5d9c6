"""A small load test, the same as the large one in all but its numbers: `make load`."""

from __future__ import annotations

import re
from argparse import Namespace

import pytest

from bench.__main__ import main
from bench.load.swarm.deployment import PER_GATEWAY, gateways_for
from bench.load.users import run
from roost.discovery.core.balance import START_COUNT

pytestmark = [pytest.mark.engines, pytest.mark.slow]

USERS = 200


def test_all_locust_users_stay_connected_and_get_their_jobs_and_come_back_after_a_storm_and_a_kill() -> None:
    report = run(
        Namespace(users=USERS, rate=200.0, hold_s=2.0, storm="all", job_every_s=3.0, ping_every_s=2.0, patience_s=60.0)
    )
    assert report.goals == dict.fromkeys(report.goals, True), report.markdown()
    assert len(report.goals) == 9
    users = {row["process"]: row["users"] for row in report.rows if row["process"].startswith("gateway")}
    assert users == dict.fromkeys(("gateway 1", "gateway 2"), pytest.approx(100, abs=START_COUNT)), "must be balanced"
    assert sum(users.values()) == USERS
    assert any(remark.startswith("connect: 200, 0 failed") for remark in report.remarks), report.remarks
    for name in ("reconnect: storm", "reconnect: outage"):  # on a busy machine some are sent away once more
        assert any(re.match(rf"{name}: 2\d\d, 0 failed", remark) for remark in report.remarks), report.remarks


def test_there_is_a_choice_of_gateways_and_none_is_overfilled() -> None:
    assert [gateways_for(users) for users in (1, 2 * PER_GATEWAY, 2 * PER_GATEWAY + 1, 50_000)] == [2, 2, 3, 3]


def test_numbers_that_make_no_sense_are_refused_before_anything_runs() -> None:
    with pytest.raises(SystemExit, match="--users must be more than 0"):
        main(["users", "--users", "0"])
