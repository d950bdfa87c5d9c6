"""A pytest plugin with which Protego's own tests ask us: ``pytest -p tests.kinds.crawl.politeness.robots_by_us``.

Whom a group of robots.txt concerns is decided by `roost.backend.kinds.crawl.politeness.robots` there, for every agent
that is called as the standard wants it (RFC 9309 section 2.2.1), which leaves out names with digits and such.
"""

from __future__ import annotations

import re

import protego

from roost.backend.kinds.crawl.politeness.robots import Rules, our_rules, product_token


class ByUs(protego.Protego):
    """Answers `can_fetch` as our crawler would decide."""

    body = b""

    @classmethod
    def parse(cls, content: str) -> ByUs:
        made = super().parse(content)
        assert isinstance(made, ByUs)
        made.body = content.encode()
        return made

    def can_fetch(self, url: str, user_agent: str) -> bool:
        if not re.fullmatch("[a-z_-]+", user_agent, re.I):
            return super().can_fetch(url, user_agent)
        return Rules(our_rules(self.body, product_token(user_agent))).allows(url)


protego.Protego = ByUs  # type: ignore[misc]
