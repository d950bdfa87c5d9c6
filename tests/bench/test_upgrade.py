"""A rolling upgrade of a small deployment from the last release, as ``make acceptance`` does of a larger one."""

from __future__ import annotations

import argparse

import pytest

from bench.load.upgrade import ORDER, run
from tests.system.test_versions import newest_release

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.timeout(300)]


def test_all_parts_are_replaced_by_those_of_this_code_under_clients_that_see_nothing_of_it() -> None:
    report = run(argparse.Namespace(sdist=newest_release(), clients=5, levels=2, each=1))
    assert not report.has_failed, report.markdown()
    assert [row["replaced"].split()[0] for row in report.rows] == ["discovery", *ORDER]
    assert all(row["in flight"] == 5 and row["done"] >= 5 for row in report.rows)
