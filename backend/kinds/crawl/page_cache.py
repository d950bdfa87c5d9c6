"""Pages in the shared cache, and which worker is fetching which page.

A worker that is about to fetch a page says so in the page's cache entry. Other workers that want the same page try
again a little later, when it is there. This is not a lock: two workers may look at the same moment, and a cache may
lose data. Then the page is fetched twice.
"""

from __future__ import annotations

from hashlib import blake2b

from msgspec import structs

from roost.backend.cache.port import Cache
from roost.backend.kinds.crawl.cached_page import CachedPage, CacheEntry, pack_entry, read_entry
from roost.wire.clock import Clock

OWNED_S = 10.0
"""How long others wait for the worker that fetches a page: most pages take less, and that worker may have died."""
_KEY_BYTES = 20
_FORMAT = b"page1"


class PageCache:
    """Pages by URL.

    `realm` is everything besides the URL that decides which answer is stored; workers with different realms share
    nothing. `owner` identifies this worker.
    """

    def __init__(self, cache: Cache, clock: Clock, realm: bytes, owner: bytes) -> None:
        self._cache, self._clock = cache, clock
        self._realm = blake2b(realm, digest_size=_KEY_BYTES).digest()
        self._owner = owner
        self._announced: set[str] = set()

    def aspect(self, name: bytes) -> PageCache:
        """Return a separate cache of the same realm, for other data about the same URLs."""
        return PageCache(self._cache, self._clock, self._realm + name, self._owner)

    async def find(self, url: str) -> CacheEntry:
        """Return the cache entry for the URL; refresh its TTL if it was not refreshed recently."""
        entry = read_entry(await self._cache.get(self._key(url)))
        if entry.page is not None and entry.wants_renewal(self._clock.wall()):
            await self._put(url, entry)
        return entry

    def is_awaited(self, entry: CacheEntry) -> bool:
        """Whether another worker is fetching the page, so that the caller should try again later."""
        return entry.is_owned(self._owner, self._clock.wall())

    async def announce(self, url: str, entry: CacheEntry) -> None:
        """Tell other workers that this one fetches the page; `entry` is what the cache had."""
        self._announced.add(url)
        until = self._clock.wall() + OWNED_S
        await self._put(url, structs.replace(entry, owner=self._owner, owned_until=until))

    async def keep(self, url: str, page: CachedPage) -> None:
        """Store the page after it was fetched; this ends the announcement."""
        self._announced.discard(url)
        await self._put(url, CacheEntry(page))

    async def give_up(self, url: str, entry: CacheEntry) -> None:
        """Withdraw the announcement for the URL, if there was one, and leave `entry` as it was."""
        if url not in self._announced:
            return
        self._announced.discard(url)
        if entry.page is None:
            await self._cache.drop(self._key(url))
        else:
            await self._put(url, structs.replace(entry, owner=b"", owned_until=0.0))

    async def _put(self, url: str, entry: CacheEntry) -> None:
        now = self._clock.wall()
        blob = pack_entry(structs.replace(entry, put_at=now))
        if blob is None:
            await self._cache.drop(self._key(url))
        else:
            await self._cache.put(self._key(url), blob, entry.lives_s(now))

    def _key(self, url: str) -> bytes:
        return _FORMAT + blake2b(url.encode(), digest_size=_KEY_BYTES, key=self._realm).digest()
