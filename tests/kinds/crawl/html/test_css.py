"""A selector is accepted or refused as Soup Sieve does it, in linear time, and what is accepted compiles quickly."""

from __future__ import annotations

import re
import sys
import warnings
from re import _parser as parser  # type: ignore[attr-defined]
from types import FrameType
from typing import Any

import pytest
import soupsieve
from hypothesis import assume, example, given
from hypothesis import strategies as st
from soupsieve import css_parser
from soupsieve.css_types import SelectorList

from roost.backend.kinds.crawl.html import css
from roost.backend.kinds.crawl.html.css import (
    CONTAINS,
    FLAGS,
    FUNCTIONS,
    LISTS,
    MAX_NESTING,
    NTH_CHILD,
    NTH_TYPE,
    normal_selector,
)
from tests.kinds.crawl.html.limited import in_seconds

WORDS = [*"abisn3+-", "x:y", "é", "日本", "-x", "--x", "of", "odd", "2n+1", "-n", "ltr", "h1", '"q"', "'['"]
WORDS += ["\\31", "\\31 ", "\\z", "\\a", "\\0", "\\110000", "\\:", '"\\41"', '"\\110000"', '"', "'"]
SIGNS = [*" ,|>+~.#[]():*=&@^$!\\/", "::", "~=", "|=", "^=", "$=", "*=", "!=", "/**/", "/* x */", " of ", "[a=", ":--c"]
PSEUDOS = [f":{name}" for name in (*FLAGS, *FUNCTIONS, "before", "HOVER", "n\\6ft")]
PSEUDOS += [f":{name}(" for name in (*FUNCTIONS, "hover", "unheard-of", "IS", "\\69s")]
ORDINARY = [
    "div",
    "#id",
    ".class",
    "[href]",
    "[a|=b i]",
    ":not(",
    ":is(",
    ":has(",
    ":nth-child(2n of ",
    ")",
    " > ",
    ", ",
]
PIECES = st.one_of(*map(st.sampled_from, (WORDS, SIGNS, PSEUDOS, ORDINARY)))
TEXTS = st.lists(PIECES, max_size=9).map("".join)


def compiled(text: str) -> SelectorList | None:
    """What Soup Sieve makes of it; None when it refuses."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return soupsieve.compile(text).selectors
    except (soupsieve.SelectorSyntaxError, NotImplementedError, ValueError):
        return None


def normal(text: str) -> str | None:
    try:
        return normal_selector(text)
    except ValueError:
        return None


def has_odd_comment(text: str) -> bool:
    """Soup Sieve looks for comments at the end backwards, and so finds some that begin within something else."""
    rest = re.sub(r"/\*[^*/]*\*/", "", text)
    return "/*" in rest or "*/" in rest or "\\/*" in text


@given(TEXTS)
@example(":is(a >)")
@example(":is(a, b >)")
@example(":contains(.a > b)")
@example("[a\\31 =b i]")
@example("a /**/ > /**/ b/**/")
@example(":nth-child( 2n /**/ + 1 /**/ of /**/ a)")
def test_what_soup_sieve_accepts_is_accepted_and_means_the_same_in_its_normal_form(text: str) -> None:
    assume(not has_odd_comment(text))
    meaning, found = compiled(text), normal(text)
    assert (found is None) is (meaning is None)
    if found is not None:
        assert compiled(found) == meaning
        assert normal(found) == found


def test_the_pseudo_classes_are_those_of_soup_sieve() -> None:
    def names(*texts: set[str]) -> set[str]:
        return {text[1:] for text in set().union(*texts)}

    assert names(css_parser.PSEUDO_SIMPLE, css_parser.PSEUDO_SIMPLE_NO_MATCH) == FLAGS
    assert names(css_parser.PSEUDO_COMPLEX, css_parser.PSEUDO_COMPLEX_NO_MATCH) == LISTS | CONTAINS
    assert names(css_parser.PSEUDO_SPECIAL) == NTH_CHILD | NTH_TYPE | {"lang", "dir"}


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "a selector is missing"),
        ("a,", "a selector is missing"),
        ("a > > b", "missing before >"),
        ("div[", "name of an attribute is missing"),
        ("div[a", "] is missing before the end"),
        ("[a=]", "value of an attribute is missing"),
        ("::before", "pseudo-elements"),
        (":unheard-of(x)", "no pseudo-class :'unheard-of'"),
        (":not", ":not is written with parentheses"),
        (":hover(a)", ":hover is written without parentheses"),
        (":not(a", "close what is open"),
        (":not()", r"missing before \)"),
        ("a)", "nothing is open"),
        (".a *b", "stands where no tag can|"),
        (".1", r"a name is missing after \."),
        ("a{}", "'{}' begins no selector|stands where"),
        ("/* a", "close the comment"),
        ("a/**/b", "put a space beside the comment"),
        (":nth-child(x)", "needs a number"),
        ("\\aaaaaa", r"no character \\aaaaaa"),
        (":is(" * (MAX_NESTING + 1) + "a" + ")" * (MAX_NESTING + 1), "at most 16 deep"),
    ],
)
def test_ordinary_mistakes_are_named(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        normal_selector(text)


def test_the_deepest_nesting_is_fine() -> None:
    text = ":is(" * MAX_NESTING + "a" + ")" * MAX_NESTING
    assert normal_selector(text) == text
    assert compiled(text) is not None


HOSTILE = [
    "[" + "\\aaaaaa" * 60,
    "[" + "\\a" * 240,
    "\\a" * 240,
    "\\aa" * 160,
    "." + "\\1f600" * 80,
    ":" + "\\61" * 160,
    ":" + "\\61" * 160 + "(",
    "[a=" + "\\a" * 240,
    "[a=" + "\\a" * 240 + "]",
    "[" + "\\a" * 120 + "|" + "\\a" * 120 + "]",
    ":lang(" + "\\a" * 240,
    ":lang(" + "a," * 240,
    ":contains(" + "\\a," * 150,
    ":contains(" * 50,
    ":contains(a," * 40,
    "[a" + " " * 490,
    "[a=b" + " " * 480 + "x]",
    "[a" + "/**/" * 120,
    "/*" * 250,
    "a/**/" * 100,
    ":nth-child(2n" + " " * 480,
    ":nth-child(2n" + " /**/" * 90 + "+",
    ":nth-child(" + "1" * 480,
    '"' * 500,
    '[a="' + "\\a" * 240,
    ":is(" * 120,
    ":is(" * 16 + ":not(a" * 16,
    "*|" * 240,
    "a" * 500,
    "-" * 500,
    "\\" * 499,
    "a " * 250,
    "a," * 250,
    "::text" * 80,
    "a::attr(" * 60,
    "a::attr(x" + " " * 480,
]


def read_hostile() -> None:
    """Each text, and as often as it is too short to be measured; and what is accepted by Soup Sieve too."""
    for text in HOSTILE:
        for _ in range(20):
            found = normal(text)
        if found is not None:
            soupsieve.compile(found)


@pytest.mark.slow
def test_hostile_selectors_are_answered_in_bounded_time_and_compile_so_when_they_are_accepted() -> None:
    in_seconds(10, read_hostile)


def backtracking(pattern: Any, in_atomic: bool = False) -> bool:
    """Whether a pattern, as `re` parses it, may have to give back what it repeated, because something after it fails.

    That cannot be where the repetition is possessive, nor where it is the last thing in an atomic group.
    """
    for place, (kind, what) in enumerate(pattern):
        name, parts = str(kind), what if isinstance(what, tuple | list) else (what,)
        is_last = in_atomic and place == len(pattern) - 1
        if name in ("MAX_REPEAT", "MIN_REPEAT") and what[1] > 1 and not is_last:
            return True
        alternatives = parts[1] if name == "BRANCH" else [part for part in parts if hasattr(part, "getwidth")]
        if any(backtracking(part, name == "ATOMIC_GROUP") for part in alternatives):
            return True
    return False


def test_no_pattern_of_the_reader_backtracks() -> None:
    patterns = {name: value for name, value in vars(css).items() if isinstance(value, re.Pattern)}
    assert len(patterns) > 5
    assert [name for name, pattern in patterns.items() if backtracking(parser.parse(pattern.pattern))] == []
    for slow in ("(?:a|(b*))c", "(?>a*b)", "(?>(?:a|a*)*)"):
        assert backtracking(parser.parse(slow))


@given(TEXTS, st.integers(1, 9))
@example(":contains(a", 40)
@example(":contains(a,", 40)
@example("/**/ ", 90)
def test_a_text_takes_so_many_steps_as_it_is_long(text: str, times: int) -> None:
    """The patterns do not backtrack, so that the calls are what remains to be counted."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    text *= times
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        normal(text)
    finally:
        sys.setprofile(before)
    assert calls <= 100 * (len(text) + 1)
