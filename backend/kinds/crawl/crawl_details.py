"""Optional details of a crawl: where each URL was found first, data about each page, and which page links to which.
Pure.

URLs are numbered in the order of the levels: 0 is the start page. A listed URL costs an entry in a dict and four bytes,
a page about thirty bytes of compressed text, a link four bytes. Everything is bounded; what exceeds the bounds is left
out, and the result is marked as truncated.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from msgspec import Struct

from roost.backend.kinds.crawl.output.packing import CompressedRows, json_arrays
from roost.backend.kinds.crawl.page_tasks import PageResult
from roost.wire.codec import to_json
from roost.wire.messages.outcome import PART_BYTES

NOBODY = -1
"""The parent number of a page that no page links to: the start page."""
MOST_LINKS = 2_000_000
"""Most links between pages that are kept; four bytes each, and one answer of about 15 MB."""
MOST_NAMED = 100
"""Most linking pages that are listed for a broken link; enough to find where to correct it."""
MOST_TEXT_BYTES = 64 * 1024 * 1024
"""Most bytes of compressed page rows."""


class PageRow(Struct, array_like=True, frozen=True):
    """What a result says about page `number`; `landed` is its final URL after redirects, "" when that is its own
    URL.
    """

    number: int
    status: int = 0
    landed: str = ""
    media_type: str = ""
    size_bytes: int | None = None
    time_s: float | None = None
    canonical: str = ""
    selected: dict[str, list[str]] | None = None
    trouble: str = ""


class CrawlDetails:
    """Details of one crawl from the URL `start`. The flags say which of them the client asked for."""

    def __init__(self, start: str, details: bool, links: bool, broken: bool) -> None:
        self._numbers = {start: 0}
        self._parents = array("i", [NOBODY])
        self._pages = CompressedRows(b'{"pages":[', b"]}", MOST_TEXT_BYTES) if details else None
        self._wants_links, self._wants_broken = links, broken
        self._links: list[array[int]] = []
        self._links_left = MOST_LINKS
        self.is_cut = False
        """Something was left out because it exceeded a limit."""

    def take(self, url: str, page: PageResult, news: list[str]) -> None:
        """Record a processed page, which is the first to link to the URLs in `news`; these are listed in this order."""
        number = self._numbers.get(url, NOBODY)
        for link in news:
            self._numbers[link] = len(self._parents)
            self._parents.append(number)
        if number == NOBODY:
            return
        if self._pages is not None and not self._pages.add(to_json(_row(number, url, page))):
            self.is_cut = True
        if (self._wants_links or self._wants_broken) and page.links:
            self._add_links(number, page.links)

    def parts(self, failed: Iterable[str]) -> Iterator[bytes]:
        """Return these details as parts of the result; `failed` are the URLs that failed. See `crawl_result`."""
        yield from json_arrays(self._parents, b'{"parents":[', b"]}", PART_BYTES)
        if self._pages is not None:
            yield from self._pages.parts()
        if self._wants_links:
            yield from json_arrays((row.tolist() for row in self._links), b'{"links":[', b"]}", PART_BYTES)
        if self._wants_broken:
            yield from json_arrays(self._broken(failed), b'{"broken":[', b"]}", PART_BYTES)

    def _broken(self, failed: Iterable[str]) -> Iterator[list[int]]:
        """Yield for each failed URL its number, how many pages link to it, and the first of these pages."""
        named: dict[int, list[int]] = {self._numbers[url]: [] for url in failed if url in self._numbers}
        counts = dict.fromkeys(named, 0)
        for page, *targets in self._links if named else ():
            for target in named.keys() & targets:
                counts[target] += 1
                if len(named[target]) < MOST_NAMED:
                    named[target].append(page)
        return ([number, counts[number], *pages] for number, pages in named.items())

    def _add_links(self, number: int, links: list[str]) -> None:
        self._links_left -= len(links)
        if self._links_left < 0:
            self.is_cut = True
            return
        self._links.append(array("i", [number, *(self._numbers[link] for link in links if link in self._numbers)]))


def _row(number: int, url: str, page: PageResult) -> PageRow:
    final_url = page.url if page.url != url else ""
    detail = page.detail
    if detail is None:
        return PageRow(number, page.status, final_url)
    return PageRow(
        number,
        page.status,
        final_url,
        detail.media_type,
        detail.size_bytes,
        detail.time_s,
        detail.canonical,
        detail.selected,
        detail.trouble,
    )
