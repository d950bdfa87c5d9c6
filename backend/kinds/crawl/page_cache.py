"""Kept pages in the shared cache, and who is fetching which.

A worker that is about to fetch a page says so in the page's entry, and others that want the same page come again a
little later, when it is there. Nothing is promised: two may look at the same moment, and a cache may forget. Then
the page is fetched twice.
"""

from __future__ import annotations

from hashlib import blake2b

from msgspec import structs

from roost.backend.cache.port import Cache
from roost.backend.kinds.crawl.cached_page import CachedPage, CacheEntry, pack_entry, read_entry
from roost.wire.clock import Clock

OWNED_S = 10.0
"""How long others wait for whoever fetches a page: most pages take less, and a worker may have died over it."""
_KEY_BYTES = 20
_FORMAT = b"page1"


class PageCache:
    """Pages by URL. `realm` is whatever else decides what a URL answers; workers that differ in it share nothing."""

    def __init__(self, cache: Cache, clock: Clock, realm: bytes, owner: bytes) -> None:
        self._cache, self._clock = cache, clock
        self._realm = blake2b(realm, digest_size=_KEY_BYTES).digest()
        self._owner = owner
        self._announced: set[str] = set()

    def aspect(self, name: bytes) -> PageCache:
        """Another shelf of the same realm, for what is known of the same URLs in another way."""
        return PageCache(self._cache, self._clock, self._realm + name, self._owner)

    async def find(self, url: str) -> CacheEntry:
        """What is kept for the URL. A hit that was not renewed for long is."""
        entry = read_entry(await self._cache.get(self._key(url)))
        if entry.page is not None and entry.wants_renewal(self._clock.wall()):
            await self._put(url, entry)
        return entry

    def is_awaited(self, entry: CacheEntry) -> bool:
        """Another worker is fetching the page: come again."""
        return entry.is_owned(self._owner, self._clock.wall())

    async def announce(self, url: str, entry: CacheEntry) -> None:
        """We fetch the page, of which `entry` was kept."""
        self._announced.add(url)
        until = self._clock.wall() + OWNED_S
        await self._put(url, structs.replace(entry, owner=self._owner, owned_until=until))

    async def keep(self, url: str, page: CachedPage) -> None:
        """The page was fetched; ends the announcement."""
        self._announced.discard(url)
        await self._put(url, CacheEntry(page))

    async def give_up(self, url: str, entry: CacheEntry) -> None:
        """Nothing comes of what was announced, if it was: `entry` stays as it was."""
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
