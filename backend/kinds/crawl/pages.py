"""What a plan asks a worker for one page, and what it hears (msgpack, fields only added at the end)."""

from __future__ import annotations

from msgspec import Struct

from backend.kinds.crawl.urls import Bounds
from wire.codec import Unpacker


class PageTask(Struct, array_like=True, frozen=True):
    """Fetch this page and list its links. `bounds` decide which redirects are followed.

    A kept page younger than `max_age_s`, or one that was fetched after `since`, will do as well. `since` is when
    the job began (wall seconds): what it has fetched itself is fresh for it, also after a take-over.
    """

    url: str
    bounds: Bounds
    max_age_s: float = 0.0
    since: float = float("inf")


class PageResult(Struct, array_like=True, frozen=True):
    """`reason`: why the page failed or was left alone; None when it was fetched.

    `links`: distinct URLs in document order; of a page that redirects out of bounds, where to. `cut`: there
    were more. `url`: where redirects led. `status`: the last answer's, 0 when there was none. `unfollowed`: those
    of the links that the page asks crawlers not to follow.
    """

    url: str
    status: int = 0
    reason: str | None = None
    links: list[str] = []
    cut: bool = False
    unfollowed: list[str] = []


read_page_task: Unpacker[PageTask] = Unpacker(PageTask, "page task")
read_page_result: Unpacker[PageResult] = Unpacker(PageResult, "page result")
