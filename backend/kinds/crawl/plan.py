"""The plan of a crawl at its master: breadth first, level by level, with the same result in whatever order pages
arrive.

Level 0 is the start page, level k+1 the pages to which pages of level k are the first to link. Pages of one level are
fetched in any order and concurrently; their links are processed in the order of the level, so that the position of
every URL depends on the site alone. A result that arrives early waits. `max_pages` is counted in the order of a level,
before a page is handed out, so that it is exact. A crawl with patterns chooses the pages of a level in steps of
`CHOOSING_US`: there may be 200 patterns for a million URLs, and other jobs must continue meanwhile.

A URL costs one `str`, one entry in a set and one in a list; everything else is per fetched page. A crawl with details,
links or checks also stores `crawl_details`, and may list half as many characters.

In a crawl that reads sitemaps, level 0 also has tasks that are not pages: one that asks the site for the URLs of its
sitemaps, and one for each sitemap. The URLs in sitemaps count as found on the start page, after its own links.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from msgspec import structs

from roost.backend.kinds.api import LevelPiece, PlannedTask, PlanProgress
from roost.backend.kinds.crawl.crawl_details import CrawlDetails
from roost.backend.kinds.crawl.output.crawl_result import (
    Reasons,
    Summary,
    level_pieces,
    result_parts,
)
from roost.backend.kinds.crawl.page_tasks import (
    PageResult,
    PageTask,
    Source,
    Wants,
    read_page_result,
)
from roost.backend.kinds.crawl.reasons import LEFT_ALONE, Skipped, start_failure
from roost.backend.kinds.crawl.sitemaps.sitemap_frontier import AT_ONCE, SitemapFrontier
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.backend.kinds.crawl.urls import host
from roost.wire.codec import pack, to_json
from roost.wire.messages.outcome import Failure, Outcome

PAGE_DEADLINE_S = 60.0
"""Time limit of a page's task; twice the usual time limit of a page, so that the worker reports the reason of a failure
and not the master.
"""
LISTED_CHARS = 128_000_000
"""Most characters of all URLs of a crawl: about two million URLs and half a gigabyte at the master."""
MAX_REASON_CHARS = 200
CHOOSING_US = 10_000
"""About how many microseconds of pattern matching one step of `_choose` takes."""
AT_ONCE_PER_HOST = 8
"""Most pages of one host that a crawl has out at a time: about what browsers allow and a small server's backlog can
hold.
"""

_NOTHING = Wants()


class CrawlPlan:
    """One crawl. See `roost.backend.kinds.api.Plan`. `since`: when its job began, in wall-clock seconds, if known."""

    def __init__(self, spec: CrawlSpec, listed_chars: int = LISTED_CHARS, since: float = float("inf")) -> None:
        self._spec, self._since = spec, since
        self._bounds = spec.bounds
        self._start_bounds = structs.replace(self._bounds, globs=None)
        """The bounds of the start page without patterns: it is fetched in any case, and so is the page that it
        redirects to.
        """
        self._has_details = spec.detail or bool(spec.select)
        needs_details = self._has_details or spec.links or spec.check
        self._sitemap_frontier = SitemapFrontier(spec.url) if spec.sitemaps and spec.depth else None
        self._sitemaps = 0
        self._details = CrawlDetails(spec.url, self._has_details, spec.links, spec.check) if needs_details else None
        self._chars_left = (listed_chars if self._details is None else listed_chars // 2) - len(spec.url)
        self._seen = {spec.url}
        self._levels = [[spec.url]]
        self._failed, self._skipped = Reasons(), Reasons()
        self._fetched = self._checked = self._taken = 0
        self._truncated = False
        self._start_reason: str | None = None
        self._reported_levels = 0
        # the level that is being fetched: pages were chosen among its first `chosen` URLs; pages[:handed] were handed
        # out, the links of pages[:folded] are in `found`, and some results between these wait
        self._level = -1
        self._chosen = 0
        self._first_number = 0
        self._pages: list[str] = []
        self._handed = self._folded = 0
        self._out: Counter[str] = Counter()
        self._waiting: dict[int, PageResult] = {}
        self._found: list[str] = []
        self._unfollowed: set[str] = set()
        """URLs in `_found` to which all links so far are marked nofollow."""
        self._left_alone: set[str] = set()
        """The same for the level that is being fetched."""
        self._open_level()

    def next_tasks(self, room: int) -> list[PlannedTask]:
        """Return at most `room` next pages of the level, in its order, as far as they are chosen and their host's limit
        allows.
        """
        if len(self._pages) - self._handed < room:
            self._choose()
            self._close_level()
        tasks: list[PlannedTask] = []
        while len(tasks) < room and self._handed < len(self._pages):
            if self._source(self._handed) and self._handed - self._folded > AT_ONCE:
                break
            url = self._pages[self._handed]
            asked = host(url)
            if self._out[asked] >= AT_ONCE_PER_HOST:
                break
            self._out[asked] += 1
            bounds = self._bounds if self._level else self._start_bounds
            payload = pack(PageTask(url, bounds, self._spec.max_age_s, self._since, self._wants(self._handed)))
            tasks.append(PlannedTask(self._first_number + self._handed, payload, PAGE_DEADLINE_S))
            self._handed += 1
        return tasks

    def fold(self, number: int, data: bytes) -> None:
        """Take the packed result of a page. Raises DecodeError."""
        self._take(number, read_page_result(data))

    def give_up(self, number: int, reason: str) -> None:
        """Count the page as failed for `reason`."""
        self._take(number, PageResult("", reason=reason[:MAX_REASON_CHARS]))

    def new_levels(self) -> list[LevelPiece]:
        """Return the beginnings of levels that became complete since the last call."""
        first, self._reported_levels = self._reported_levels, len(self._levels)
        return [
            piece for level in range(first, self._reported_levels) for piece in level_pieces(level, self._levels[level])
        ]

    def progress(self) -> PlanProgress:
        """Return the pages done in the level, and in all."""
        done = self._folded + len(self._waiting)
        return PlanProgress(self._level, done, len(self._pages))

    def is_over(self) -> bool:
        """Whether no page is out and none is left."""
        return self._folded == len(self._pages) and self._chosen == len(self._candidates())

    def failure(self) -> Failure | None:
        """Return the failure of the start page, with which the whole crawl fails; None otherwise."""
        return start_failure(self._spec.url, self._start_reason) if self._start_reason is not None else None

    def parts(self) -> Iterator[bytes]:
        """Return the parts of the result: levels, including what the open one has found so far, failed pages, skipped
        pages, details.
        """
        found, failed, skipped = self._so_far()
        parts = result_parts([*self._levels, found] if found else self._levels, failed, skipped)
        return parts if self._details is None else chain(parts, self._details.parts(url for url, _ in failed))

    def summary(self, outcome: Outcome, elapsed_s: float) -> bytes:
        """Return the packed summary: counts, and how the crawl ended."""
        found, _, _ = self._so_far()
        waiting = sum(page.reason is None and not self._source(index) for index, page in self._waiting.items())
        is_check = self._level == self._spec.depth
        return to_json(
            Summary(
                url=self._spec.url,
                depth=self._spec.depth,
                outcome=outcome,
                truncated=self._truncated or not self.is_over() or (self._details is not None and self._details.is_cut),
                listed=sum(map(len, self._levels)) + len(found),
                fetched=self._fetched + (0 if is_check else waiting),
                elapsed_s=round(elapsed_s, 3),
                detail=self._has_details,
                select=tuple(self._spec.select),
                links=self._spec.links,
                check=self._spec.check,
                sitemaps=self._sitemaps if self._spec.sitemaps else None,
                checked=self._checked + (waiting if is_check else 0),
            )
        )

    def _wants(self, index: int) -> Wants | None:
        """Return what the crawl wants from a page of this level besides its links."""
        check, source = self._level == self._spec.depth, self._source(index)
        select = () if check or source else tuple(self._spec.select.items())
        wants = Wants(self._has_details, check, source, select)
        return wants if wants != _NOTHING else None

    def _source(self, index: int) -> Source | None:
        """Return whether an item of level 0 is the site or a sitemap; None for pages. Sources come after the start
        page.
        """
        if self._level or not index:
            return None
        return Source.SITE if index == 1 else Source.SITEMAP

    def _open_level(self) -> None:
        self._first_number += len(self._pages)
        self._level += 1
        self._pages, self._chosen, self._handed, self._folded = [], 0, 0, 0
        self._out.clear()
        self._left_alone, self._unfollowed = self._unfollowed, set()
        self._choose()
        if not self._level and self._sitemap_frontier is not None:
            self._pages.append(self._spec.url)

    def _candidates(self) -> list[str]:
        """Return the URLs of the level if its pages are fetched; otherwise none."""
        return self._levels[self._level] if self._level < self._spec.depth + self._spec.check else []

    def _choose(self) -> None:
        """Decide which of the next URLs of the level are fetched, as many as one step has time for."""
        urls, cost_us = self._candidates(), 0
        while self._chosen < len(urls) and cost_us < CHOOSING_US:
            url = urls[self._chosen]
            self._chosen += 1
            cost_us += self._bounds.cost_us(url)
            if self._level and (refusal := self._bounds.refusal(url)):
                self._skipped.add(url, refusal)
            elif url in self._left_alone:
                self._skipped.add(url, Skipped.NOFOLLOW)
            elif self._taken == self._spec.max_pages:
                self._skipped.add(url, Skipped.LIMIT)
                self._truncated = True
            else:
                self._taken += 1
                self._pages.append(url)

    def _close_level(self) -> None:
        """Open the next level once all pages of this one are processed."""
        if self.is_over() and self._found:
            self._levels.append(self._found)
            self._found = []
            self._open_level()

    def _take(self, number: int, page: PageResult) -> None:
        index = number - self._first_number
        if not self._folded <= index < self._handed or index in self._waiting:
            return
        self._out[host(self._pages[index])] -= 1
        needs_known = self._spec.links or self._spec.check
        if index > self._folded and not needs_known:  # it must wait; keep only links that are new
            page = structs.replace(page, links=[link for link in page.links if self._is_news(link)])
        self._waiting[index] = page
        while (ready := self._waiting.pop(self._folded, None)) is not None:
            source, url = self._source(self._folded), self._pages[self._folded]
            self._fold_source(source, url, ready) if source else self._fold_page(url, ready)
            self._folded += 1
        self._close_level()

    def _fold_page(self, url: str, page: PageResult) -> None:
        known = len(self._found)
        if page.reason is not None:
            (self._skipped if page.reason in LEFT_ALONE else self._failed).add(url, page.reason)
            if self._level == 0:
                self._start_reason = page.reason
        elif self._level == self._spec.depth:
            self._checked += 1
        else:
            self._fetched += 1
            self._fold_links(page)
        if self._details is not None:
            self._details.take(url, page, self._found[known:])

    def _fold_source(self, source: Source, url: str, page: PageResult) -> None:
        assert self._sitemap_frontier is not None
        if self._start_reason is not None:
            return  # the crawl has failed
        if page.reason is not None:
            if not self._sitemap_frontier.is_guess(url):
                (self._skipped if page.reason in LEFT_ALONE else self._failed).add(url, page.reason)
            return
        self._sitemaps += source is Source.SITEMAP
        for found in (
            self._sitemap_frontier.of_site(page.maps)
            if source is Source.SITE
            else self._sitemap_frontier.news(page.maps)
        ):
            refusal = self._start_bounds.refusal(found)
            if refusal:
                self._skipped.add(found, refusal)
            else:
                self._pages.append(found)
        self._truncated |= self._sitemap_frontier.is_cut
        known = len(self._found)
        self._fold_links(page)
        if self._details is not None:
            self._details.take("", page, self._found[known:])

    def _fold_links(self, page: PageResult) -> None:
        self._truncated |= page.cut
        unfollowed = set(page.unfollowed)
        for link in page.links:
            if link in self._seen:
                if link not in unfollowed:
                    self._unfollowed.discard(link)
                continue
            if len(link) > self._chars_left:
                self._truncated = True
                return
            self._chars_left -= len(link)
            self._seen.add(link)
            self._found.append(link)
            if link in unfollowed:
                self._unfollowed.add(link)

    def _is_news(self, link: str) -> bool:
        return link not in self._seen or link in self._unfollowed

    def _so_far(self) -> tuple[list[str], Reasons, Reasons]:
        """Return what the open level has found so far, with the results that still wait; changes nothing."""
        if not self._waiting:
            return self._found, self._failed, self._skipped
        failed, skipped = self._failed.copy(), self._skipped.copy()
        new: dict[str, None] = {}
        for index in sorted(self._waiting):
            page = self._waiting[index]
            if page.reason is not None and not self._source(index):
                (skipped if page.reason in LEFT_ALONE else failed).add(self._pages[index], page.reason)
            new.update((link, None) for link in page.links if link not in self._seen)
        return [*self._found, *new], failed, skipped
