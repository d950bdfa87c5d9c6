"""Messages between a crawl's plan and workers, for one page (msgpack, fields only added at the end)."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from roost.backend.kinds.crawl.urls import Bounds
from roost.wire.codec import Unpacker


class Source(IntEnum):
    """A URL that is not a page: a site, which is asked for its sitemaps, or a sitemap."""

    SITE = 1
    SITEMAP = 2


class Wants(Struct, array_like=True, frozen=True):
    """What a crawl wants from a page besides its links, or instead of them.

    `check`: only whether the page exists. `source`: the URL is a site or sitemap. `select`: pairs of name and CSS
    selector to extract.
    """

    detail: bool = False
    check: bool = False
    source: Source | None = None
    select: tuple[tuple[str, str], ...] = ()


class PageTask(Struct, array_like=True, frozen=True):
    """A task: fetch this page and list its links. `bounds` decide which redirects are followed.

    A cached page younger than `max_age_s`, or one that was fetched after `since`, is accepted too. `since` is when the
    job began (wall-clock seconds): pages that the job itself has fetched are fresh for it, also after a takeover.
    """

    url: str
    bounds: Bounds
    max_age_s: float = 0.0
    since: float = float("inf")
    wants: Wants | None = None


class Detail(Struct, array_like=True, frozen=True):
    """Data about a page besides its links.

    `media_type`: without parameters. `size_bytes`: of the body, after decompression if it was read, otherwise by
    Content-Length; None when unknown. `time_s`: duration of the last request, without any waiting before it.
    `canonical`: the page's canonical URL, "" when it names none. `selected`: extracted values by name; None when
    nothing was extracted, because nothing was wanted, the page is not HTML, or there was an error, which `trouble`
    names.
    """

    media_type: str = ""
    size_bytes: int | None = None
    time_s: float = 0.0
    canonical: str = ""
    selected: dict[str, list[str]] | None = None
    trouble: str = ""


class PageResult(Struct, array_like=True, frozen=True):
    """The result of a page. `reason`: why the page failed or was skipped; None when it was fetched.

    `url`: the final URL after redirects. `status`: of the last answer, 0 when there was none. `links`: distinct URLs in
    document order; for a page that redirects out of bounds, the redirect's target. `cut`: there were more links.
    `unfollowed`: those links that the page asks crawlers not to follow. `detail`: data about a fetched page, if wanted.
    `maps`: sitemaps that a site or a sitemap index names.
    """

    url: str
    status: int = 0
    reason: str | None = None
    links: list[str] = []
    cut: bool = False
    unfollowed: list[str] = []
    detail: Detail | None = None
    maps: list[str] = []


read_page_task: Unpacker[PageTask] = Unpacker(PageTask, "page task")
read_page_result: Unpacker[PageResult] = Unpacker(PageResult, "page result")
