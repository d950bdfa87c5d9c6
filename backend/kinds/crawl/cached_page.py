"""A page as the cache keeps it: its links, where its redirects led, and what it can be checked by.

An entry says what the servers answered, not what one crawl made of it, so that crawls with other bounds share it:
whoever reads it walks the redirects again under bounds of its own. Only pages that were fetched (2xx) are kept, and
redirects that nobody was allowed to follow. Pure: `now` is wall seconds, because entries outlive processes.
"""

from __future__ import annotations

from msgspec import Struct

from roost.backend.kinds.crawl.page_tasks import Detail, PageResult, PageTask, Wants
from roost.backend.kinds.crawl.urls import Bounds
from roost.wire.codec import Unpacker, compress, decompress, pack
from roost.wire.errors import DecodeError

KEEP_S = 6 * 3600.0
"""After its last use."""
HARD_AGE_S = 24 * 3600.0
"""After its server last vouched for it, however often it is used: sites change."""
ENTRY_BYTES = 1024 * 1024
"""Before compression; fits what one page may list (`links.MAX_LINK_CHARS`). An entry that is larger is not kept."""
KEPT_BYTES = 128 * 1024
"""After compression: about 20,000 URLs of one site. A page with more is fetched each time."""


class Hop(Struct, array_like=True, frozen=True):
    """The server answered with `status` and sent us on to `url`."""

    status: int
    url: str


class CachedPage(Struct, array_like=True, frozen=True):
    """What was found at a URL at `checked_at`. `status` is 0 when the last of `hops` was not followed.

    `etag` and `modified` are the last answer's validators, "" for none (RFC 9110 section 8.8).
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
        """Young enough for the task; one from the future, by another machine's clock, counts as new."""
        return self.checked_at >= task.since or max(0.0, now - self.checked_at) < task.max_age_s

    def place(self, url: str) -> str:
        """Where a request for `url` ends."""
        return self.hops[-1].url if self.hops else url

    def answer(self, url: str, bounds: Bounds, wants: Wants | None = None) -> PageResult | None:
        """What a crawl within `bounds` finds at `url`; None when it would follow further than this goes."""
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
    """What the cache holds for a URL: a page, and who is fetching it until when (wall seconds)."""

    page: CachedPage | None = None
    put_at: float = 0.0
    owner: bytes = b""
    owned_until: float = 0.0

    def is_owned(self, other_than: bytes, now: float) -> bool:
        """Somebody else is fetching the page."""
        return self.owner not in (b"", other_than) and now < self.owned_until

    def wants_renewal(self, now: float) -> bool:
        """A hit should put it again; not each one, because a write costs more than a read."""
        return now - self.put_at > KEEP_S / 2

    def lives_s(self, now: float) -> float:
        """How long to keep it from now on; not positive when it is too old."""
        if self.page is None:
            return self.owned_until - now
        return min(KEEP_S, self.page.checked_at + HARD_AGE_S - now)


NOTHING = CacheEntry()
_read_entry: Unpacker[CacheEntry] = Unpacker(CacheEntry, "kept page")


def pack_entry(entry: CacheEntry) -> bytes | None:
    """The entry for the cache; None when it is too large to keep."""
    data = pack(entry)
    blob = compress(data) if len(data) <= ENTRY_BYTES else b""
    return blob if 0 < len(blob) <= KEPT_BYTES else None


def read_entry(blob: bytes | None) -> CacheEntry:
    """The inverse of `pack_entry`; nothing for what is missing or damaged, as a cache may forget."""
    if blob is None:
        return NOTHING
    try:
        return _read_entry(decompress(blob, ENTRY_BYTES))
    except DecodeError:
        return NOTHING
