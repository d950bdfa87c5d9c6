"""Patterns by which a client says which links a crawl follows. Pure.

``*`` stands for any text, every other character for itself: ``?`` too, because queries begin with it. A pattern is
matched against the whole URL in its serialised form; one that begins with ``/`` against path and query alone. Each
piece of text between stars is searched once, after the match of the piece before it, so that no pattern takes
exponential time. `Globs.cost_us` estimates the time, so that a caller that tries patterns on many URLs can pause in
between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from msgspec import Struct

from roost.backend.kinds.crawl.reasons import Skipped

MAX_GLOBS = 100
"""Most include patterns, and most exclude patterns; each is tried on each link that is found."""
MAX_GLOB_CHARS = 500

_URL_CHARS = "".join(map(chr, range(0x21, 0x7F)))
_OPENINGS = ("/", "*", "http://", "https://")


class Globs(Struct, array_like=True, frozen=True):
    """A link is followed when one of `include` matches it (or there is none), and none of `exclude`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def cost_us(self, url: str) -> int:
        """Estimate the most microseconds that `refusal` takes.

        A common pattern takes two on a common URL; a pattern made to be slow for `str.find` takes 250 on the longest
        URL.
        """
        return (len(self.include) + len(self.exclude)) * (2 + len(url) // 32)

    def refusal(self, url: str) -> Skipped | None:
        """Return why `url` is not followed; None when it is."""
        if self.include and not any(matches(pattern, url) for pattern in self.include):
            return Skipped.NOT_INCLUDED
        return Skipped.EXCLUDED if any(matches(pattern, url) for pattern in self.exclude) else None


def normal_globs(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns sorted, without duplicates, with non-ASCII characters percent-encoded. Raises ValueError with
    advice.
    """
    return tuple(sorted(set(map(_normal, patterns))))


def _normal(pattern: str) -> str:
    if not pattern.startswith(_OPENINGS):
        shown = ascii(pattern[:100])
        advice = "begin the pattern with https://, with / for a path, or with *, as in /docs/* or *.pdf"
        raise ValueError(f"no URL looks like {shown}: {advice}")
    try:
        normal = quote(re.sub(r"\*+", "*", pattern), safe=_URL_CHARS)
    except UnicodeError:
        raise ValueError("take out of the pattern what is no character") from None
    if len(normal) > MAX_GLOB_CHARS:
        raise ValueError(f"use patterns of at most {MAX_GLOB_CHARS} characters")
    return normal


def matches(pattern: str, url: str) -> bool:
    """Whether the normalised pattern matches the URL."""
    begin = url.find("/", url.index("//") + 2) if pattern.startswith("/") else 0
    first, *pieces = _pieces(pattern)
    if not pieces:
        return url[begin:] == first
    last = pieces.pop()
    if not (url.startswith(first, begin) and url.endswith(last)):
        return False
    begin, end = begin + len(first), len(url) - len(last)
    for piece in pieces:
        found = url.find(piece, begin, end)
        if found < 0:
            return False
        begin = found + len(piece)
    return begin <= end


@lru_cache(maxsize=4 * MAX_GLOBS)
def _pieces(pattern: str) -> list[str]:
    return pattern.split("*")
