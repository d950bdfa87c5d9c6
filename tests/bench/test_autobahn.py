from __future__ import annotations

from bench.compare.autobahn import CASES, Found, judge


def results(group: str, count: int, **odd: tuple[str, str]) -> Found:
    verdicts = {f"{group}.1.{number}": ("OK", "OK") for number in range(1, count + 1)}
    verdicts |= {f"{group}.1.{name.removeprefix('case_')}": verdict for name, verdict in odd.items()}
    return {case: {"behavior": did, "behaviorClose": closed} for case, (did, closed) in verdicts.items()}


def test_all_cases_there_and_good_is_a_pass() -> None:
    found = results("3", CASES["3"], case_1=("NON-STRICT", "OK"), case_2=("OK", "INFORMATIONAL"))
    lines, is_good = judge(found, ["3"])
    assert is_good
    assert lines[1].split() == ["3", "7/7", "6", "OK,", "1", "NON-STRICT;", "6", "OK,", "1", "INFORMATIONAL"]


def test_a_missing_case_is_a_failure() -> None:
    assert not judge(results("3", CASES["3"] - 1), ["3"])[1]
    assert not judge({}, ["3"])[1]


def test_a_bad_behaviour_is_a_failure_and_named_in_either_place() -> None:
    for verdict in (("FAILED", "OK"), ("OK", "UNCLEAN"), ("OK", "FAILED"), ("UNIMPLEMENTED", "OK")):
        lines, is_good = judge(results("3", CASES["3"], case_5=verdict), ["3"])
        assert not is_good
        assert lines[-1] == f"BAD 3.1.5: {verdict[0]} / {verdict[1]}"


def test_the_suite_has_517_cases() -> None:
    assert sum(CASES.values()) == 517
