"""Extracts values from pages by named CSS selectors.

A selector extracts the text of every matching element; with ``::attr(NAME)`` at its end, that attribute. Selectors are
checked by `css` when a client's options are parsed, and applied by Soup Sieve, in a process that can be killed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from roost.backend.kinds.crawl.html.css import normal_selector

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

MAX_SELECTIONS = 20
MAX_CSS_CHARS = 500
MAX_CSS_CHARS_TOGETHER = 2000
"""Most characters of all selectors of a crawl. A gateway checks them on its event loop, which takes up to 2 us a
character.
"""
MAX_VALUES = 100
"""Most values of one name on a page."""
MAX_VALUE_CHARS = 2000
MAX_PAGE_CHARS = 20_000
"""Most characters of all values of a page; a crawl stores them for every page."""
CUT = "…"
"""Appended to a value that was cut."""
RESERVED = frozenset(("url", "level", "outcome", "reason", "named_by", "parent", "status", "type", "bytes", "time_s"))
RESERVED |= {"landed", "canonical", "selected", "trouble"}
"""Field names of results, which selectors must not use."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_ATTRIBUTE = re.compile(r"(.+?)::(?:text|attr\(\s*([\w:.-]+)\s*\))\s*", re.S | re.A)


class BadSelector(Exception):
    """Soup Sieve rejects a selector that was accepted here, or that was not checked."""


def checked_selections(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the selectors in their normal form (`css`); takes time linear in their length.

    Raises ValueError with advice.
    """
    if len(wanted) > MAX_SELECTIONS:
        raise ValueError(f"select at most {MAX_SELECTIONS} things")
    if sum(map(len, wanted.values())) > MAX_CSS_CHARS_TOGETHER:
        raise ValueError(f"write selectors of at most {MAX_CSS_CHARS_TOGETHER} characters together")
    return {name: _checked(name, css) for name, css in wanted.items()}


def _checked(name: str, css: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"name what you select in letters, digits, - and _, unlike {name[:70]!a}")
    if name in RESERVED:
        raise ValueError(f"choose another name than {name}: results have that already")
    if len(css) <= MAX_CSS_CHARS and css.isprintable():
        path, _ = _parsed(css)
        try:
            css = normal_selector(path) + css[len(path) :]
        except ValueError as problem:
            advice = f"write a CSS selector for {name}, as in h1 or a.next::attr(href): {problem}"
            raise ValueError(advice) from problem
        if len(css) <= MAX_CSS_CHARS:
            return css
    raise ValueError(f"write the selector of {name} in at most {MAX_CSS_CHARS} printable characters")


def _parsed(css: str) -> tuple[str, str]:
    """Return the selector, and the wanted attribute ("" for the text)."""
    found = _ATTRIBUTE.fullmatch(css)
    return (found[1], found[2] or "") if found else (css, "")


def extract(body: bytes, content_type: str, url: str, wanted: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the values on the page by name. Raises BadSelector.

    The time depends on page and selectors and may be long: meant for a `SandboxPool`.
    """
    from roost.backend.kinds.crawl.html.page import Page

    soup, room = Page(body, content_type, url).soup, MAX_PAGE_CHARS
    found: dict[str, list[str]] = {}
    for name, css in wanted.items():
        found[name] = []
        path, attribute = _parsed(css)
        for value in _values(_matches(soup, path), attribute):
            most = min(MAX_VALUE_CHARS, room)
            kept = value if len(value) <= most else value[:most] + CUT
            room -= min(len(value), most)
            found[name].append(kept)
            if not room:
                return found
    return found


def _matches(soup: BeautifulSoup, css: str) -> list[Tag]:
    import soupsieve

    try:
        selector = soupsieve.compile(css)
    except (soupsieve.SelectorSyntaxError, NotImplementedError, ValueError) as problem:
        raise BadSelector(str(problem)) from None  # the original cannot always be pickled
    return selector.select(soup, limit=MAX_VALUES)


def _values(elements: list[Tag], attribute: str) -> Iterator[str]:
    for element in elements:
        value: Any = element.get(attribute) if attribute else element.get_text(" ")
        if value is not None:
            text = " ".join(value) if isinstance(value, list) else str(value)
            yield " ".join(text.split()).encode("utf-8", "replace").decode()
