"""A crawl's pages as a sitemap.xml for search engines (sitemaps.org protocol 0.9)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from roost.export.graphs import xml_text

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult

MOST_URLS = 50_000
"""Most URLs in one sitemap, by the protocol."""
_PAGES = ("text/html", "application/xhtml+xml")


def sitemap_pages(result: CrawlResult) -> Iterator[str]:
    """URLs of pages on the start page's host that were fetched successfully and name no other URL as canonical."""
    pages = result.pages or {}
    start = pages.get(result.url)
    home = _site((start.landed if start is not None else "") or result.url)
    for url, page in pages.items():
        own = page.landed or url
        is_page = 200 <= page.status < 300 and page.type in _PAGES
        if is_page and _site(own) == home and page.canonical in ("", own) and (own == url or own not in pages):
            yield own


def sitemap(result: CrawlResult) -> Iterator[str]:
    """The sitemap, with the first `MOST_URLS` pages."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    pages = dict.fromkeys(sitemap_pages(result))
    yield from (f"  <url><loc>{xml_text(url)}</loc></url>\n" for url in islice(pages, MOST_URLS))
    yield "</urlset>\n"
    if len(pages) > MOST_URLS:
        yield f"<!-- the first {MOST_URLS} of {len(pages)} pages: a sitemap has no room for more -->\n"


def _site(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])
