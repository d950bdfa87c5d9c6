"""The page of guarantees has every rule, its lists of tests are those that there are, and code cites nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules import PAGE, RULES, Defenders, cited, defenders, named, sections, with_lists


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tests() -> Defenders:
    return defenders()


@pytest.mark.slow
def test_every_guarantee_is_held_by_a_test_that_names_it(tests: Defenders) -> None:
    assert [rule for rule in RULES if rule not in tests] == []


def test_no_test_names_a_guarantee_that_does_not_exist(tests: Defenders) -> None:
    assert {rule: names for rule, names in tests.items() if rule not in RULES} == {}


def test_the_page_has_a_section_for_every_guarantee_in_order(page: str) -> None:
    assert list(sections(page)) == RULES


def test_every_section_says_what_happens_without_the_guarantee_and_where_it_is_implemented(page: str) -> None:
    incomplete = [
        rule for rule, text in sections(page).items() if "\n- Attack: " not in text or "\n- Implemented in " not in text
    ]
    assert incomplete == []


def test_every_file_that_the_page_names_exists(page: str) -> None:
    targets = {piece.split(")")[0] for piece in page.split("](")[1:]}
    files = {target.split("#")[0] for target in targets if not target.startswith(("http", "#"))}
    assert files
    assert [file for file in sorted(files) if not (PAGE.parent / file).exists()] == []


def test_the_lists_of_tests_in_the_page_are_up_to_date(page: str, tests: Defenders) -> None:
    assert page == with_lists(page, tests), "python -m tests.rules --write renews them"


def test_code_cites_only_guarantees_that_the_page_explains(page: str) -> None:
    known = sections(page)
    assert {rule: files for rule, files in cited().items() if rule not in known} == {}


def test_a_test_names_one_guarantee_or_several_that_follow_each_other() -> None:
    code = """
def test_p14_a_late_complete_changes_nothing() -> None: ...
class TestContract:
    async def test_i1_to_i3_nothing_is_lost(self) -> None: ...
def test_p2p_is_no_rule() -> None: ...
def helper_p3_of_tests() -> None: ...
text = 'def test_p4_in_a_text() -> None: ...'
"""
    assert dict(named(code)) == {
        "test_p14_a_late_complete_changes_nothing": ["P14"],
        "test_i1_to_i3_nothing_is_lost": ["I1", "I2", "I3"],
    }


def test_lists_are_added_renewed_and_nothing_else_is_changed() -> None:
    page = "# Page\n\nText.\n\n### I1: One\n\nIt holds.\n\n## Group\n\nMore text.\n\n### P1: Other\n\nIt holds too.\n"
    tests = {"I1": [(PAGE.parent / "test_a.py", "test_i1_a")]}
    filled = with_lists(page, tests)
    assert "It holds.\n\n<details><summary>Tests (1)</summary>\n\n- [test_a.py](test_a.py): `test_i1_a`\n\n" in filled
    assert filled.endswith("It holds too.\n\n<details><summary>Tests (0)</summary>\n\n\n</details>\n")
    assert with_lists(filled, tests) == filled
    assert "test_i1_a" not in with_lists(filled, {})
    more = with_lists(filled, {"P1": [(Path(PAGE.parent, "test_b.py"), "test_p1_b")]})
    assert "More text.\n\n### P1: Other\n\nIt holds too.\n\n<details><summary>Tests (1)" in more


def test_a_guarantee_has_one_section() -> None:
    with pytest.raises(ValueError, match="P1 has two sections"):
        sections("### P1: One\n\n### P1: Other\n")
