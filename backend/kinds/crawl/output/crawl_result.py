"""How a crawl's result is split into parts, and put together again.

A part is a JSON object with one of these fields, and at most `PART_BYTES` long:

* ``{"level": k, "urls": [...]}``: URLs of level k in order; a big level takes several parts;
* ``{"failed": [[url, reason], ...]}`` and ``{"skipped": [[url, reason], ...]}``, see `reasons`;
* with any of `detail`, `links` and `check`, ``{"parents": [number, ...]}``: for each URL, in the order of the levels,
  the number in that order of the page that was the first to link to it (-1: none);
* with `detail`, ``{"pages": [[number, ...], ...]}``: a `PageRow` for each page that was requested;
* with `links`, ``{"links": [[number, number, ...], ...]}``: a page, and all listed URLs that it links to;
* with `check`, ``{"broken": [[number, count, number, ...], ...]}``: a page that failed, how many pages link to it, and
  the first of these.

The summary is a JSON object, `Summary`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from roost.backend.kinds.api import LevelPiece
from roost.backend.kinds.crawl.crawl_details import PageRow
from roost.backend.kinds.crawl.output.packing import json_arrays
from roost.backend.kinds.crawl.spec import MAX_DEPTH
from roost.wire.codec import JsonReader
from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError
from roost.wire.messages.outcome import PART_BYTES, Outcome

PIECE_BYTES = 32 * 1024
"""Most bytes of a level's URLs in one message to a client that streams."""
MAX_PIECES = 64
"""Most such messages per level: a client that streams gets the first 2 MiB of a level early, and the rest in the
result.
"""


class Summary(Struct, frozen=True, omit_defaults=True):
    """What the result says about a crawl besides its lists.

    `listed`: URLs in all levels. `fetched`: pages that were fetched. `truncated`: something is missing, because of a
    limit or because the crawl did not finish. `detail`, `links`, `check`: what the client asked for too. `checked`:
    pages of the last level that exist. `sitemaps`: how many were read; None when not requested. `select`: names of the
    selectors.
    """

    url: str
    depth: int
    outcome: Outcome
    truncated: bool
    listed: int
    fetched: int
    elapsed_s: float
    detail: bool = False
    links: bool = False
    check: bool = False
    checked: int = 0
    sitemaps: int | None = None
    select: tuple[str, ...] = ()


class Part(Struct, frozen=True):
    """One decoded part."""

    level: Annotated[int, Meta(ge=0, le=MAX_DEPTH)] | None = None
    urls: list[str] = []
    failed: list[tuple[str, str]] = []
    skipped: list[tuple[str, str]] = []
    parents: list[int] = []
    pages: list[PageRow] = []
    links: list[list[int]] = []
    broken: list[list[int]] = []


_read_summary: JsonReader[Summary] = JsonReader(Summary, "crawl summary")
_read_part: JsonReader[Part] = JsonReader(Part, "crawl part")


class Reasons:
    """Pages with a reason each, in order; two pointers a page."""

    def __init__(self) -> None:
        self._urls: list[str] = []
        self._reasons: list[str] = []

    def add(self, url: str, reason: str) -> None:
        self._urls.append(url)
        self._reasons.append(reason)

    def copy(self) -> Reasons:
        """Return an independent copy."""
        other = Reasons()
        other._urls, other._reasons = self._urls.copy(), self._reasons.copy()
        return other

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self._urls, self._reasons, strict=True)


def result_parts(levels: Iterable[list[str]], failed: Reasons, skipped: Reasons) -> Iterator[bytes]:
    """Yield the lists of the result as parts."""
    for number, urls in enumerate(levels):
        yield from json_arrays(urls, b'{"level":%d,"urls":[' % number, b"]}", PART_BYTES)
    yield from json_arrays(failed, b'{"failed":[', b"]}", PART_BYTES)
    yield from json_arrays(skipped, b'{"skipped":[', b"]}", PART_BYTES)


def level_pieces(level: int, urls: list[str]) -> Iterator[LevelPiece]:
    """Yield the beginning of a level, for clients that stream."""
    for seq, items in enumerate(islice(json_arrays(urls, b"[", b"]", PIECE_BYTES), MAX_PIECES)):
        yield LevelPiece(level, seq, items)


@dataclass(frozen=True, slots=True)
class PageDetail:
    """Data about a page that was requested.

    `status`: of the last answer, 0 when there was none. `landed`: the final URL after redirects, "" when there were
    none. `type`: media type, without parameters. `bytes`: size of the body, None when unknown. `time_s`: duration of
    the last request. `canonical`: the page's canonical URL, "" when it names none. `selected`: extracted values by
    name, None when nothing could be extracted; `trouble` says why when the reason is not the page's type.
    """

    url: str
    status: int
    landed: str = ""
    type: str = ""
    bytes: int | None = None
    time_s: float | None = None
    canonical: str = ""
    selected: dict[str, list[str]] | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """A link to a page that failed for `reason`: `count` pages have it, and `pages` are the first of these."""

    url: str
    reason: str
    count: int
    pages: list[str]


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """The result of a crawl. `failed` and `skipped` are pairs of URL and reason.

    `checked`: with `check`, how many pages of the last level exist. `parents`: for each URL the page that was the first
    to link to it. `pages`: with `detail`, data about each page that was requested. `links`: with `links`, what each
    page links to. `broken`: with `check`, broken links. `sitemaps`: how many were read. These are None when not
    requested. `select`: names of the selectors.
    """

    url: str
    depth: int
    outcome: Outcome
    truncated: bool
    levels: list[list[str]]
    fetched: int
    failed: list[tuple[str, str]]
    skipped: list[tuple[str, str]]
    elapsed_s: float
    parents: dict[str, str] | None = None
    pages: dict[str, PageDetail] | None = None
    links: dict[str, list[str]] | None = None
    broken: list[BrokenLink] | None = None
    checked: int = 0
    sitemaps: int | None = None
    select: tuple[str, ...] = ()

    @property
    def listed(self) -> int:
        """The number of URLs in all levels."""
        return sum(map(len, self.levels))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        plain: dict[str, Any] = {
            "url": self.url,
            "depth": self.depth,
            "outcome": str(self.outcome),
            "truncated": self.truncated,
            "levels": self.levels,
            "listed": self.listed,
            "fetched": self.fetched,
            "failed": [{"url": url, "reason": reason} for url, reason in self.failed],
            "skipped": [{"url": url, "reason": reason} for url, reason in self.skipped],
            "elapsed_s": self.elapsed_s,
        }
        if self.sitemaps is not None:
            plain["sitemaps"] = self.sitemaps
        if self.pages is not None:
            parents = self.parents or {}
            plain["pages"] = [{"parent": parents.get(url)} | _plain(page) for url, page in self.pages.items()]
        if self.links is not None:
            plain["links"] = [{"url": url, "to": targets} for url, targets in self.links.items()]
        if self.broken is not None:
            plain["checked"] = self.checked
            plain["broken"] = [asdict(link) for link in self.broken]
        return plain


def _plain(page: PageDetail) -> dict[str, Any]:
    """Return a page as plain values for JSON, with `selected` and `trouble` only where they are set."""
    return {key: value for key, value in asdict(page).items() if value or key not in ("selected", "trouble")}


def read_result(summary: bytes | msgspec.Raw, parts: Iterable[bytes | msgspec.Raw]) -> CrawlResult:
    """The inverse of `CrawlPlan.summary` and `CrawlPlan.parts`. Raises DecodeError."""
    about = _read_summary(bytes(summary))
    read = [_read_part(bytes(part)) for part in parts]
    levels: list[list[str]] = [[] for _ in range(1 + max((part.level or 0 for part in read), default=-1))]
    for part in read:
        if part.level is not None:
            levels[part.level].extend(part.urls)
    result = CrawlResult(
        url=about.url,
        depth=about.depth,
        outcome=about.outcome,
        truncated=about.truncated,
        levels=levels,
        fetched=about.fetched,
        failed=list(chain.from_iterable(part.failed for part in read)),
        skipped=list(chain.from_iterable(part.skipped for part in read)),
        elapsed_s=about.elapsed_s,
        sitemaps=about.sitemaps,
        select=about.select,
    )
    try:
        return _with_details(result, about, read) if about.detail or about.links or about.check else result
    except IndexError as problem:
        raise DecodeError(ErrorCode.BAD_MESSAGE, "the crawl's answer names URLs that it does not list") from problem


def _with_details(result: CrawlResult, about: Summary, read: list[Part]) -> CrawlResult:
    urls = list(chain.from_iterable(result.levels))
    parents = chain.from_iterable(part.parents for part in read)
    rows = chain.from_iterable(part.pages for part in read)
    links = chain.from_iterable(part.links for part in read)
    broken = chain.from_iterable(part.broken for part in read)
    reasons = dict(result.failed)
    return replace(
        result,
        parents={urls[child]: urls[parent] for child, parent in enumerate(parents) if parent >= 0},
        pages={urls[row.number]: _detail(urls[row.number], row) for row in rows} if about.detail else None,
        links={urls[row[0]]: [urls[target] for target in row[1:]] for row in links} if about.links else None,
        broken=[_broken(urls, reasons, row) for row in broken] if about.check else None,
        checked=about.checked,
    )


def _broken(urls: list[str], reasons: dict[str, str], row: list[int]) -> BrokenLink:
    url = urls[row[0]]
    return BrokenLink(url, reasons.get(url, ""), row[1], [urls[page] for page in row[2:]])


def _detail(url: str, row: PageRow) -> PageDetail:
    known = (row.status, row.landed, row.media_type, row.size_bytes, row.time_s, row.canonical)
    return PageDetail(url, *known, row.selected, row.trouble)
