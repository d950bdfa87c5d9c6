"""What a site's robots.txt asks of us (RFC 9309). Pure.

Which groups of the file are ours is decided here: those that name our product token, or else those for ``*``. Protego
then judges by their rules alone. It would also choose among groups, but a file of thousands of agents in one group
makes that choice quadratic.
"""

from __future__ import annotations

import re

from protego import Protego

MOST_BYTES = 512 * 1024
"""RFC 9309 section 2.5 asks for 500 KiB at least; what comes after is not read."""
MOST_DELAY_S = 300.0
"""A longer crawl-delay counts as this one: a site that wants nobody says so with Disallow."""

_LINE = re.compile(r"\r\n?|\n")
_AGENT = re.compile(r"user[ -]?agent(?:\s*:|\s++(?!.*:(?:\s|$)))\s*(.*)", re.I)
"""The colon may be missing, but not where another one stands as such: ``User-agent names: see above`` is nobody's.

Possessive: a line of half a million blanks is read once."""
_ASIDE = re.compile(r"(?:site-?maps?|host)\s*:", re.I)
"""Concerns no group, and ends none."""
_TOKEN = re.compile(r"[a-z_-]*", re.I)


def product_token(user_agent: str) -> str:
    """What robots.txt calls a crawler with this User-Agent (RFC 9309 section 2.2.1): ``roost`` for ``Roost/0.1``."""
    found = _TOKEN.match(user_agent)
    return found[0].lower() if found else ""


def our_rules(body: bytes, token: str) -> str:
    """The lines of a robots.txt that concern the crawler called `token`."""
    text = body[:MOST_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")
    named: dict[str, None] | None = None
    general: dict[str, None] = {}
    is_ours = is_general = is_opening = False
    for raw in _LINE.split(text):
        line = raw.partition("#")[0].strip()
        agent = _AGENT.match(line)
        if agent:
            if not is_opening:
                is_ours = is_general = False
            is_opening = True
            is_general |= agent[1] == "*"  # not *Other*, which some sites name with wildcards
            if product_token(agent[1]) == token:
                is_ours, named = True, named or {}
        elif line and not _ASIDE.match(line):
            is_opening = False
            if is_ours and named is not None:
                named[line] = None
            if is_general:
                general[line] = None
    return "\n".join(general if named is None else named)


class Rules:
    """`lines` are what `our_rules` finds."""

    def __init__(self, lines: str) -> None:
        self._judge = Protego.parse(f"User-agent: *\n{lines}") if lines else None
        self.cost_chars = len(lines)
        self.delay_s = self._delay_s()

    def allows(self, url: str) -> bool:
        """Whether the site wants `url` to be fetched."""
        return self._judge is None or self._judge.can_fetch(url, "*")

    def _delay_s(self) -> float:
        """Least time between two requests; 0 when nothing is asked for."""
        if self._judge is None:
            return 0.0
        rate = self._judge.request_rate("*")
        # as numbers of any size: the file may name one that no float can hold
        by_rate = min(rate.seconds, int(MOST_DELAY_S) * rate.requests) / rate.requests if rate else 0.0
        return min(max(self._judge.crawl_delay("*") or 0.0, by_rate), MOST_DELAY_S)
