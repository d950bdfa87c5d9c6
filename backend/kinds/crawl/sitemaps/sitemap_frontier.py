"""The sitemaps of a crawl's site: each is read once, and not too many of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from roost.backend.kinds.crawl.urls import join

MOST_SITEMAPS = 500
"""Sitemaps read for a crawl; full ones name 25 million pages."""
AT_ONCE = 2
"""Out at a time: the answer to each may be megabytes."""


class SitemapFrontier:
    """What the site of the page at `start` is heard to have."""

    def __init__(self, start: str) -> None:
        self._usual = join(start, "/sitemap.xml") or ""
        self._named: set[str] = set()
        self._heard: set[str] = set()
        self.is_cut = False
        """There were too many."""

    def of_site(self, named: Iterable[str]) -> list[str]:
        """What to read, when the site names these: where sitemaps usually are is looked too."""
        self._named.update(named)
        return self.news([*named, self._usual])

    def news(self, maps: Iterable[str]) -> list[str]:
        """Those that were not heard of before."""
        news = [url for url in dict.fromkeys(maps) if url not in self._heard]
        room = MOST_SITEMAPS - len(self._heard)
        self.is_cut |= len(news) > room
        self._heard.update(news[:room])
        return news[:room]

    def is_guess(self, url: str) -> bool:
        """Nobody said that it is there."""
        return url == self._usual and url not in self._named
