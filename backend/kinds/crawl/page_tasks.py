"""What a plan asks a worker for one page, and what it hears (msgpack, fields only added at the end)."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from roost.backend.kinds.crawl.urls import Bounds
from roost.wire.codec import Unpacker


class Source(IntEnum):
    """What a URL stands for that is no page: a site, of which we ask which sitemaps it has, or one of these."""

    SITE = 1
    SITEMAP = 2


class Wants(Struct, array_like=True, frozen=True):
    """What a crawl asks of a page beside its links, or instead.

    `check`: only whether it is there. `source`: it is no page. `select`: names, and CSS of what is to be extracted.
    """

    detail: bool = False
    check: bool = False
    source: Source | None = None
    select: tuple[tuple[str, str], ...] = ()


class PageTask(Struct, array_like=True, frozen=True):
    """Fetch this page and list its links. `bounds` decide which redirects are followed.

    A kept page younger than `max_age_s`, or one that was fetched after `since`, will do as well. `since` is when
    the job began (wall seconds): what it has fetched itself is fresh for it, also after a take-over.
    """

    url: str
    bounds: Bounds
    max_age_s: float = 0.0
    since: float = float("inf")
    wants: Wants | None = None


class Detail(Struct, array_like=True, frozen=True):
    """What is known of a page beside its links.

    `media_type`: without parameters. `size_bytes`: of the body, decompressed where it was read, and as the server says
    otherwise; None when it does not say. `time_s`: that the last request for it took, without any waiting before it.
    `canonical`: the URL by which the page wants to be known, "" when it does not say. `selected`: what was extracted
    from it, by name; None when nothing was, because nothing was wanted, it is no HTML, or there was `trouble`.
    """

    media_type: str = ""
    size_bytes: int | None = None
    time_s: float = 0.0
    canonical: str = ""
    selected: dict[str, list[str]] | None = None
    trouble: str = ""


class PageResult(Struct, array_like=True, frozen=True):
    """`reason`: why the page failed or was left alone; None when it was fetched.

    `links`: distinct URLs in document order; of a page that redirects out of bounds, where to. `cut`: there
    were more. `url`: where redirects lead. `status`: the last answer's, 0 when there was none. `unfollowed`: those
    of the links that the page asks crawlers not to follow. `detail`: of a page that was fetched, if it was wanted.
    `maps`: sitemaps that a source names.
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
