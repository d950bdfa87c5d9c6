"""Which sitemaps of its site a crawl reads: each one once, up to a limit. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from roost.backend.kinds.crawl.urls import join

MOST_SITEMAPS = 500
"""Most sitemaps read for a crawl; full ones list 25 million pages."""
AT_ONCE = 2
"""Sitemaps fetched concurrently: the answer to each may be megabytes."""


class SitemapFrontier:
    """The sitemaps of the site of the page at `start`."""

    def __init__(self, start: str) -> None:
        self._usual = join(start, "/sitemap.xml") or ""
        self._named: set[str] = set()
        self._seen: set[str] = set()
        self.is_cut = False
        """There were more than the limit allows."""

    def of_site(self, named: Iterable[str]) -> list[str]:
        """Return the sitemaps to read when robots.txt names these; the usual location is tried too."""
        self._named.update(named)
        return self.news([*named, self._usual])

    def news(self, maps: Iterable[str]) -> list[str]:
        """Return those that are new, up to the limit."""
        news = [url for url in dict.fromkeys(maps) if url not in self._seen]
        allowed = MOST_SITEMAPS - len(self._seen)
        self.is_cut |= len(news) > allowed
        self._seen.update(news[:allowed])
        return news[:allowed]

    def is_guess(self, url: str) -> bool:
        """Whether the URL is only the usual location, which robots.txt does not name."""
        return url == self._usual and url not in self._named
