"""A crawl at its master: breadth first, level by level, the same answer whatever order results come in.

Level 0 is the start page, level k+1 what the pages of level k are the first to link to. Pages of one level
are fetched in any order and at the same time; their links are folded in the order of the level, so that
every URL has its place by the site alone. A result that comes before its turn waits. `max_pages` is
counted in the order of a level, before a page is handed out, so that it is exact. A crawl with patterns chooses the
pages of a level in steps of `CHOOSING_US`: there may be 200 patterns for a million URLs, and other jobs must go on
meanwhile.

A URL costs one `str`, one entry in a set and one in a list; everything else is per page that is fetched. Who asks for
more than levels pays for `notes`, and may list half as much.

With sitemaps, level 0 has more than the start page: the site, which is asked which sitemaps there are, and each of
these. What they name counts as found on the start page after its own links.
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
"""For one page at a worker; twice its usual time limit, so that the worker gives the reason and not the master."""
LISTED_CHARS = 128_000_000
"""Most characters of all URLs of a crawl, about two million URLs and half a gigabyte at the master."""
MAX_REASON_CHARS = 200
CHOOSING_US = 10_000
"""About how many microseconds patterns are tried on a level's URLs at a time."""
AT_ONCE_PER_HOST = 8
"""Pages of one host that a crawl has out at a time: about what browsers allow, and a small server's backlog bears."""

_NOTHING = Wants()


class CrawlPlan:
    """One crawl. See `roost.backend.kinds.api.Plan`. `since`: when its job began, in wall seconds, if that is known."""

    def __init__(self, spec: CrawlSpec, listed_chars: int = LISTED_CHARS, since: float = float("inf")) -> None:
        self._spec, self._since = spec, since
        self._bounds = spec.bounds
        self._start_bounds = structs.replace(self._bounds, globs=None)
        """A start page is wanted, and so is the page that it redirects to."""
        self._has_details = spec.detail or bool(spec.select)
        has_notes = self._has_details or spec.links or spec.check
        self._sources = SitemapFrontier(spec.url) if spec.sitemaps and spec.depth else None
        self._sitemaps = 0
        self._notes = CrawlDetails(spec.url, self._has_details, spec.links, spec.check) if has_notes else None
        self._room_chars = (listed_chars if self._notes is None else listed_chars // 2) - len(spec.url)
        self._seen = {spec.url}
        self._levels = [[spec.url]]
        self._failed, self._skipped = Reasons(), Reasons()
        self._fetched = self._checked = self._taken = 0
        self._truncated = False
        self._start_reason: str | None = None
        self._told_levels = 0
        # the level that is being fetched: pages are chosen among its first `chosen` URLs; pages[:handed] are out,
        # pages[:folded] are in `found`, some between wait
        self._level = -1
        self._chosen = 0
        self._first_number = 0
        self._pages: list[str] = []
        self._handed = self._folded = 0
        self._out: Counter[str] = Counter()
        self._waiting: dict[int, PageResult] = {}
        self._found: list[str] = []
        self._unfollowed: set[str] = set()
        """Of what was found, the URLs that only such links lead to as are not to be followed."""
        self._left_alone: set[str] = set()
        """The same of the level that is being fetched."""
        self._open_level()

    def next_tasks(self, room: int) -> list[PlannedTask]:
        """The next pages of the level, in its order, as far as they are chosen and their host may be asked."""
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
        """Take a page. Raises DecodeError."""
        self._take(number, read_page_result(data))

    def give_up(self, number: int, reason: str) -> None:
        """The page counts as failed."""
        self._take(number, PageResult("", reason=reason[:MAX_REASON_CHARS]))

    def new_levels(self) -> list[LevelPiece]:
        """Levels whose URLs are all known."""
        first, self._told_levels = self._told_levels, len(self._levels)
        return [
            piece for level in range(first, self._told_levels) for piece in level_pieces(level, self._levels[level])
        ]

    def progress(self) -> PlanProgress:
        """Pages of the level, and pages in all."""
        done = self._folded + len(self._waiting)
        return PlanProgress(self._level, done, len(self._pages), self._first_number + done)

    def is_over(self) -> bool:
        """Nothing is out and nothing left."""
        return self._folded == len(self._pages) and self._chosen == len(self._candidates())

    def failure(self) -> Failure | None:
        """A crawl has failed when its start page has."""
        return start_failure(self._spec.url, self._start_reason) if self._start_reason is not None else None

    def parts(self) -> Iterator[bytes]:
        """Levels with what the open level has brought so far, then failed pages, then skipped ones."""
        found, failed, skipped = self._so_far()
        parts = result_parts([*self._levels, found] if found else self._levels, failed, skipped)
        return parts if self._notes is None else chain(parts, self._notes.parts(url for url, _ in failed))

    def summary(self, outcome: Outcome, elapsed_s: float) -> bytes:
        """Counts, and how it ended."""
        found, _, _ = self._so_far()
        waiting = sum(page.reason is None and not self._source(index) for index, page in self._waiting.items())
        is_check = self._level == self._spec.depth
        return to_json(
            Summary(
                url=self._spec.url,
                depth=self._spec.depth,
                outcome=outcome,
                truncated=self._truncated or not self.is_over() or (self._notes is not None and self._notes.is_cut),
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
        """What is asked of a page of this level beside its links."""
        check, source = self._level == self._spec.depth, self._source(index)
        select = () if check or source else tuple(self._spec.select.items())
        wants = Wants(self._has_details, check, source, select)
        return wants if wants != _NOTHING else None

    def _source(self, index: int) -> Source | None:
        """What it stands for, if it is no page: those come after the start page."""
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
        if not self._level and self._sources is not None:
            self._pages.append(self._spec.url)

    def _candidates(self) -> list[str]:
        """The URLs of the level, if it is one whose pages are fetched."""
        return self._levels[self._level] if self._level < self._spec.depth + self._spec.check else []

    def _choose(self) -> None:
        """Decide which of the next URLs of the level are fetched: as many as one step has time for."""
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
        """Once all of the level is folded, go on to the next."""
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
        if index > self._folded and not needs_known:  # it will wait, without what is known already
            page = structs.replace(page, links=[link for link in page.links if self._is_news(link)])
        self._waiting[index] = page
        while (turn := self._waiting.pop(self._folded, None)) is not None:
            source, url = self._source(self._folded), self._pages[self._folded]
            self._fold_source(source, url, turn) if source else self._fold_page(url, turn)
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
        if self._notes is not None:
            self._notes.take(url, page, self._found[known:])

    def _fold_source(self, source: Source, url: str, page: PageResult) -> None:
        assert self._sources is not None
        if self._start_reason is not None:
            return  # nothing will come of the crawl
        if page.reason is not None:
            if not self._sources.is_guess(url):
                (self._skipped if page.reason in LEFT_ALONE else self._failed).add(url, page.reason)
            return
        self._sitemaps += source is Source.SITEMAP
        for found in self._sources.of_site(page.maps) if source is Source.SITE else self._sources.news(page.maps):
            refusal = self._start_bounds.refusal(found)
            if refusal:
                self._skipped.add(found, refusal)
            else:
                self._pages.append(found)
        self._truncated |= self._sources.is_cut
        known = len(self._found)
        self._fold_links(page)
        if self._notes is not None:
            self._notes.take("", page, self._found[known:])

    def _fold_links(self, page: PageResult) -> None:
        self._truncated |= page.cut
        unfollowed = set(page.unfollowed)
        for link in page.links:
            if link in self._seen:
                if link not in unfollowed:
                    self._unfollowed.discard(link)
                continue
            if len(link) > self._room_chars:
                self._truncated = True
                return
            self._room_chars -= len(link)
            self._seen.add(link)
            self._found.append(link)
            if link in unfollowed:
                self._unfollowed.add(link)

    def _is_news(self, link: str) -> bool:
        return link not in self._seen or link in self._unfollowed

    def _so_far(self) -> tuple[list[str], Reasons, Reasons]:
        """What the open level has brought, with the pages that wait for their turn; changes nothing."""
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
