"""Each site's robots.txt: fetched when it is first needed, and kept for a while, here and in the shared cache.

RFC 9309 section 2.3.1: what is missing (4xx) forbids nothing; a server in trouble (5xx, and 429, by which it asks to be
left alone) forbids everything until it is asked again, soon; a host that cannot be reached at all is no matter of
robots.txt: its pages fail for the same reason.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from hashlib import blake2b

from msgspec import Struct

from roost.backend.cache.port import Cache
from roost.backend.kinds.crawl.fetch.fetcher import Fetcher, NotFetched
from roost.backend.kinds.crawl.politeness.robots import MOST_BYTES, Rules, our_rules
from roost.backend.kinds.crawl.single_flight import SingleFlight
from roost.backend.kinds.crawl.sitemaps.sitemap_parser import named_sitemaps
from roost.wire.clock import Clock
from roost.wire.codec import Unpacker, compress, decompress, pack
from roost.wire.errors import DecodeError

KEEP_S = 3600.0
"""RFC 9309 allows 24 h; people who change the file expect to be heard sooner."""
TROUBLE_S = 60.0
FAILED_S = 5.0
"""Pages of a host that could not be reached fail for so long without another attempt."""
TIMEOUT_S = 10.0
INLINE_CHARS = 16 * 1024
"""Files and rules up to this size are read and judged at once; more (28,000 rules: 0.3 s a URL) in a thread."""
HELD_CHARS = 4_000_000
"""Of rules in the worker at a time; about 50 bytes of memory each."""
_FORBID_ALL = "Disallow: /"
_KEPT_BYTES = 4 * MOST_BYTES


class Kept(Struct, array_like=True, frozen=True):
    """What the cache holds for a site: asked at `asked_at`, good until `until` (wall seconds). `maps`: sitemaps."""

    asked_at: float
    until: float
    lines: str = ""
    failure: str | None = None
    maps: list[str] = []


class SiteRules(Struct, frozen=True):
    """What a site allows. `failure`: nothing is known of it, because it could not be reached for this reason."""

    kept: Kept
    rules: Rules

    async def allows(self, url: str) -> bool:
        """Whether `url` may be fetched."""
        if self.rules.cost_chars <= INLINE_CHARS:
            return self.rules.allows(url)
        return await asyncio.to_thread(self.rules.allows, url)


_read_kept: Unpacker[Kept] = Unpacker(Kept, "kept robots.txt")


class RobotsCache:
    """Permits by site. `token` is what robots.txt files call us, `realm` what else decides what they answer."""

    def __init__(self, cache: Cache, clock: Clock, fetcher: Fetcher, token: str, realm: bytes) -> None:
        self._cache, self._clock, self._fetcher = cache, clock, fetcher
        self._token = token
        self._realm = blake2b(realm, digest_size=20).digest()
        self._held: OrderedDict[str, SiteRules] = OrderedDict()
        self._held_chars = 0
        self._flights: SingleFlight[SiteRules] = SingleFlight()

    async def of(self, url: str) -> SiteRules:
        """The permit of the site that `url` is on. Raises NotFetched when the site cannot be reached."""
        site = "/".join(url.split("/", 3)[:3])
        permit = self._held.get(site)
        if permit is None or self._clock.wall() >= permit.kept.until:
            permit = await self._flights.do(site, lambda: self._look(site))
        if permit.kept.failure is not None:
            raise NotFetched(permit.kept.failure, url)
        return permit

    async def _look(self, site: str) -> SiteRules:
        key = b"robots1" + blake2b(site.encode(), digest_size=20, key=self._realm).digest()
        kept = _read(await self._cache.get(key))
        if kept is None or self._clock.wall() >= kept.until:
            kept = await self._ask(site)
            if kept.failure is None:  # what one worker cannot reach another may
                await self._cache.put(key, compress(pack(kept)), kept.until - self._clock.wall())
        return await self._hold(site, kept)

    async def _ask(self, site: str) -> Kept:
        now = self._clock.wall()
        try:
            status, body = await self._fetcher.beginning(f"{site}/robots.txt", MOST_BYTES, TIMEOUT_S)
        except NotFetched as problem:
            return Kept(now, now + FAILED_S, failure=problem.reason)
        if 200 <= status < 300:
            if len(body) <= INLINE_CHARS:
                lines, maps = self._read(body, site)
            else:
                lines, maps = await asyncio.to_thread(self._read, body, site)
            return Kept(now, now + KEEP_S, lines, maps=maps)
        if status >= 500 or status == 429:
            return Kept(now, now + TROUBLE_S, _FORBID_ALL)
        return Kept(now, now + KEEP_S)

    def _read(self, body: bytes, site: str) -> tuple[str, list[str]]:
        """The rules for us and the sitemaps in a robots.txt."""
        return our_rules(body, self._token), named_sitemaps(body, site)

    async def _hold(self, site: str, kept: Kept) -> SiteRules:
        in_thread = len(kept.lines) > INLINE_CHARS
        permit = SiteRules(kept, await asyncio.to_thread(Rules, kept.lines) if in_thread else Rules(kept.lines))
        self._drop(site)
        self._held[site] = permit
        self._held_chars += _cost(permit)
        while self._held_chars > HELD_CHARS:
            self._drop(next(iter(self._held)))
        return permit

    def _drop(self, site: str) -> None:
        gone = self._held.pop(site, None)
        if gone is not None:
            self._held_chars -= _cost(gone)


def _cost(permit: SiteRules) -> int:
    return permit.rules.cost_chars + 500


def _read(blob: bytes | None) -> Kept | None:
    try:
        return _read_kept(decompress(blob, _KEPT_BYTES)) if blob is not None else None
    except DecodeError:
        return None
