"""A page as the cache stores it: its links, its redirects, and the validators for conditional requests.

An entry says what the servers answered, independent of the bounds of one crawl, so that crawls with other bounds can
share it: each reader follows the stored redirects again within its own bounds. Only pages that were fetched (2xx) are
stored, and redirects that were not followed because they led out of bounds. Pure: `now` is wall-clock seconds, because
entries outlive processes.
"""

from __future__ import annotations

from msgspec import Struct

from roost.backend.kinds.crawl.page_tasks import Detail, PageResult, PageTask, Wants
from roost.backend.kinds.crawl.urls import Bounds
from roost.wire.codec import Unpacker, compress, decompress, pack
from roost.wire.errors import DecodeError

KEEP_S = 6 * 3600.0
"""How long an entry is kept after its last use."""
HARD_AGE_S = 24 * 3600.0
"""How long an entry is kept after its server last confirmed it, however often it is used: sites change."""
ENTRY_BYTES = 1024 * 1024
"""Largest entry before compression; it fits what one page may list (`links.MAX_LINK_CHARS`). Larger ones are not
kept.
"""
KEPT_BYTES = 128 * 1024
"""Largest entry after compression: about 20,000 URLs of one site. A page with more is fetched each time."""


class Hop(Struct, array_like=True, frozen=True):
    """A redirect: the server answered with `status` and sent us to `url`."""

    status: int
    url: str


class CachedPage(Struct, array_like=True, frozen=True):
    """What was found at a URL at `checked_at` (wall-clock seconds).

    `status` is 0 when the last of `hops` was not followed. `cut`: there were more links than the limits allow.
    `unfollowed`: links marked nofollow. `maps`: sitemaps that a sitemap index names. `etag` and `modified` are the
    validators of the last answer, "" for none (RFC 9110 section 8.8).
    """

    checked_at: float
    hops: list[Hop] = []
    status: int = 0
    links: list[str] = []
    cut: bool = False
    etag: str = ""
    modified: str = ""
    unfollowed: list[str] = []
    detail: Detail = Detail()
    maps: list[str] = []

    def is_fresh(self, task: PageTask, now: float) -> bool:
        """Whether the entry is young enough for the task.

        An entry from the future, by another machine's clock, counts as new.
        """
        return self.checked_at >= task.since or max(0.0, now - self.checked_at) < task.max_age_s

    def place(self, url: str) -> str:
        """Return the final URL of a request for `url`, after its redirects."""
        return self.hops[-1].url if self.hops else url

    def answer(self, url: str, bounds: Bounds, wants: Wants | None = None) -> PageResult | None:
        """Return the result for a crawl within `bounds`.

        None when the crawl would follow a redirect that this entry did not follow.
        """
        wants = wants or Wants()
        for hop in self.hops:
            if not bounds.allows(hop.url):
                return PageResult(hop.url, hop.status, links=[] if wants.check else [hop.url])
            url = hop.url
        if not self.status:
            return None
        detail = self.detail if wants.detail else None
        if wants.check:
            return PageResult(url, self.status, detail=detail)
        return PageResult(url, self.status, None, self.links, self.cut, self.unfollowed, detail, self.maps)


class CacheEntry(Struct, array_like=True, frozen=True):
    """The cache's value for a URL: a page, and which worker is fetching it until when (wall-clock seconds)."""

    page: CachedPage | None = None
    put_at: float = 0.0
    owner: bytes = b""
    owned_until: float = 0.0

    def is_owned(self, other_than: bytes, now: float) -> bool:
        """Whether a worker other than `other_than` is fetching the page."""
        return self.owner not in (b"", other_than) and now < self.owned_until

    def wants_renewal(self, now: float) -> bool:
        """Whether a hit should store the entry again. Not every hit does, because a write costs more than a read."""
        return now - self.put_at > KEEP_S / 2

    def lives_s(self, now: float) -> float:
        """How many seconds to keep the entry from now on; not positive when it is too old."""
        if self.page is None:
            return self.owned_until - now
        return min(KEEP_S, self.page.checked_at + HARD_AGE_S - now)


NOTHING = CacheEntry()
_read_entry: Unpacker[CacheEntry] = Unpacker(CacheEntry, "kept page")


def pack_entry(entry: CacheEntry) -> bytes | None:
    """Serialise the entry for the cache; None when it is too large to keep."""
    data = pack(entry)
    blob = compress(data) if len(data) <= ENTRY_BYTES else b""
    return blob if 0 < len(blob) <= KEPT_BYTES else None


def read_entry(blob: bytes | None) -> CacheEntry:
    """The inverse of `pack_entry`. A missing or damaged value gives an empty entry, as a cache may lose data."""
    if blob is None:
        return NOTHING
    try:
        return _read_entry(decompress(blob, ENTRY_BYTES))
    except DecodeError:
        return NOTHING
