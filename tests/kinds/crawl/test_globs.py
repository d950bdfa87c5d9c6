"""Patterns mean what they say, for any URL, and cost little whatever they look like."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.kinds.crawl.globs import MAX_GLOB_CHARS, Globs, matches, normal_globs
from roost.backend.kinds.crawl.reasons import Skipped

URL = "https://example.org/docs/a.html?sort=up&q=[x]"


@pytest.mark.parametrize(
    ("pattern", "does"),
    [
        ("*", True),
        (URL, True),
        ("/docs/*", True),
        ("/docs/*?*", True),
        ("*?sort=*", True),
        ("*.html*[x]", True),
        ("https://*/docs/*", True),
        ("https://example.org/*a.html?*up*", True),
        ("/docs", False),
        ("/docs/", False),
        ("/blog/*", False),
        ("/*/docs/*", False),
        ("*.html", False),
        ("*.HTML*", False),
        ("http://*", False),
        ("https://example.org", False),
        ("*up*sort*", False),
    ],
)
def test_a_pattern_is_about_the_whole_url_or_about_the_path(pattern: str, does: bool) -> None:
    assert matches(pattern, URL) is does


PIECES = st.text("ab*/?[].", max_size=12)


@given(PIECES, st.text("ab/?[].", max_size=20))
def test_a_star_is_any_text_and_everything_else_is_itself(pattern: str, rest: str) -> None:
    url = "http://h/" + rest
    for whole, about in (("*" + pattern, url), ("http://" + pattern, url), ("/" + pattern, "/" + rest)):
        meant = re.compile(".*".join(map(re.escape, whole.split("*"))), re.S)
        assert matches(whole, url) is (meant.fullmatch(about) is not None)


def test_what_overlaps_in_the_pattern_does_not_in_the_url() -> None:
    assert not matches("http://h/ab*ba", "http://h/aba")
    assert matches("http://h/ab*ba", "http://h/abba")


def test_patterns_are_normalised() -> None:
    assert normal_globs(["/b/**", "*.pdf", "/b/*", "/ü x*"]) == ("*.pdf", "/%C3%BC%20x*", "/b/*")


@pytest.mark.parametrize("pattern", ["", "docs/*", "ftp://h/*", "?", "/" + "x" * MAX_GLOB_CHARS, "*\ud800"])
def test_a_pattern_that_fits_no_url_is_refused_with_advice(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"begin the pattern|at most|take out"):
        normal_globs([pattern])


def test_of_several_patterns_one_is_enough_and_exclusion_wins_last() -> None:
    globs = Globs(include=("/a*", "/b*"), exclude=("*z", "*y"))
    assert [globs.refusal(f"http://h/{path}") for path in ("a", "b", "c", "ay", "cz")] == [
        None,
        None,
        Skipped.NOT_INCLUDED,
        Skipped.EXCLUDED,
        Skipped.NOT_INCLUDED,
    ]
    assert Globs().refusal("http://h/") is None
