"""Every rule of the job protocol has a test that names it."""

from __future__ import annotations

from tests.rules import RULES, defenders


def test_every_rule_of_the_job_protocol_is_defended_by_a_test_that_names_it() -> None:
    assert [rule for rule in RULES if rule not in defenders()] == []
