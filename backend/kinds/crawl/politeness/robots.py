"""The rules of a site's robots.txt for our crawler (RFC 9309). Pure.

This module selects the groups of the file that apply to us: those that name our product token, or else those for ``*``.
Protego then evaluates only their rules. Protego could select groups too, but its selection takes quadratic time when a
file lists thousands of agents in one group.
"""

from __future__ import annotations

import re

from protego import Protego

MOST_BYTES = 512 * 1024
"""RFC 9309 section 2.5 requires at least 500 KiB; the rest of a longer file is not read."""
MOST_DELAY_S = 300.0
"""Longer crawl-delays are reduced to this: a site that wants no crawlers says so with Disallow."""

_LINE = re.compile(r"\r\n?|\n")
_AGENT = re.compile(r"user[ -]?agent(?:\s*:|\s++(?!.*:(?:\s|$)))\s*(.*)", re.I)
"""The colon may be missing, but not when another colon follows that works as one: ``User-agent names: see above``
matches no crawler.

Possessive: a line of half a million blanks is read once.
"""
_ASIDE = re.compile(r"(?:site-?maps?|host)\s*:", re.I)
"""A line that belongs to no group and does not end one."""
_TOKEN = re.compile(r"[a-z_-]*", re.I)


def product_token(user_agent: str) -> str:
    """Return the product token for this User-Agent (RFC 9309 section 2.2.1): ``roost`` for ``Roost/0.1``."""
    found = _TOKEN.match(user_agent)
    return found[0].lower() if found else ""


def our_rules(body: bytes, token: str) -> str:
    """Return the lines of a robots.txt that apply to the crawler with product token `token`."""
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
    """Parsed rules of one site; `lines` is the result of `our_rules`."""

    def __init__(self, lines: str) -> None:
        self._parser = Protego.parse(f"User-agent: *\n{lines}") if lines else None
        self.cost_chars = len(lines)
        self.delay_s = self._delay_s()

    def allows(self, url: str) -> bool:
        """Whether the rules allow fetching `url`."""
        return self._parser is None or self._parser.can_fetch(url, "*")

    def _delay_s(self) -> float:
        """Return the least seconds between two requests; 0 when the file names none."""
        if self._parser is None:
            return 0.0
        rate = self._parser.request_rate("*")
        # as integers: the file may name a number too large for a float
        by_rate = min(rate.seconds, int(MOST_DELAY_S) * rate.requests) / rate.requests if rate else 0.0
        return min(max(self._parser.crawl_delay("*") or 0.0, by_rate), MOST_DELAY_S)
