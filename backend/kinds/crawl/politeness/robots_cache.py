"""The robots.txt of each site: fetched when it is first needed, and kept for a while in the worker and in the shared
cache.

RFC 9309 section 2.3.1: a missing file (4xx) forbids nothing; a server error (5xx, or 429, by which a server asks for
fewer requests) forbids everything until the file is requested again, soon. If a host cannot be reached at all,
robots.txt decides nothing: its pages fail for the same reason.
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
"""RFC 9309 allows 24 h; site owners who change the file expect an effect sooner."""
TROUBLE_S = 60.0
FAILED_S = 5.0
"""For this long, pages of a host that could not be reached fail without another attempt."""
TIMEOUT_S = 10.0
INLINE_CHARS = 16 * 1024
"""Files and rules up to this size are read and evaluated on the event loop; more (28,000 rules: 0.3 s a URL) in a
thread.
"""
HELD_CHARS = 4_000_000
"""Most characters of rules that a worker keeps; about 50 bytes of memory each."""
_FORBID_ALL = "Disallow: /"
_KEPT_BYTES = 4 * MOST_BYTES


class Kept(Struct, array_like=True, frozen=True):
    """The cache's value for a site: fetched at `asked_at`, valid until `until` (wall-clock seconds). `maps`:
    sitemaps.
    """

    asked_at: float
    until: float
    lines: str = ""
    failure: str | None = None
    maps: list[str] = []


class SiteRules(Struct, frozen=True):
    """What a site allows. `failure`: the reason why the site could not be reached, so that no rules are known."""

    kept: Kept
    rules: Rules

    async def allows(self, url: str) -> bool:
        """Whether `url` may be fetched."""
        if self.rules.cost_chars <= INLINE_CHARS:
            return self.rules.allows(url)
        return await asyncio.to_thread(self.rules.allows, url)


_read_kept: Unpacker[Kept] = Unpacker(Kept, "kept robots.txt")


class RobotsCache:
    """Rules by site. `token` is our product token; `realm` is everything else that decides what a robots.txt
    answers.
    """

    def __init__(self, cache: Cache, clock: Clock, fetcher: Fetcher, token: str, realm: bytes) -> None:
        self._cache, self._clock, self._fetcher = cache, clock, fetcher
        self._token = token
        self._realm = blake2b(realm, digest_size=20).digest()
        self._sites: OrderedDict[str, SiteRules] = OrderedDict()
        self._sites_chars = 0
        self._single_flight: SingleFlight[SiteRules] = SingleFlight()

    async def of(self, url: str) -> SiteRules:
        """Return the rules of the site of `url`. Raises NotFetched when the site cannot be reached."""
        site = "/".join(url.split("/", 3)[:3])
        site_rules = self._sites.get(site)
        if site_rules is None or self._clock.wall() >= site_rules.kept.until:
            site_rules = await self._single_flight.do(site, lambda: self._load(site))
        if site_rules.kept.failure is not None:
            raise NotFetched(site_rules.kept.failure, url)
        return site_rules

    async def _load(self, site: str) -> SiteRules:
        key = b"robots1" + blake2b(site.encode(), digest_size=20, key=self._realm).digest()
        kept = _read(await self._cache.get(key))
        if kept is None or self._clock.wall() >= kept.until:
            kept = await self._ask(site)
            if kept.failure is None:  # another worker may reach what this one cannot
                await self._cache.put(key, compress(pack(kept)), kept.until - self._clock.wall())
        return await self._remember(site, kept)

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
        """Return the rules for us and the sitemaps in a robots.txt."""
        return our_rules(body, self._token), named_sitemaps(body, site)

    async def _remember(self, site: str, kept: Kept) -> SiteRules:
        in_thread = len(kept.lines) > INLINE_CHARS
        site_rules = SiteRules(kept, await asyncio.to_thread(Rules, kept.lines) if in_thread else Rules(kept.lines))
        self._drop(site)
        self._sites[site] = site_rules
        self._sites_chars += _cost(site_rules)
        while self._sites_chars > HELD_CHARS:
            self._drop(next(iter(self._sites)))
        return site_rules

    def _drop(self, site: str) -> None:
        gone = self._sites.pop(site, None)
        if gone is not None:
            self._sites_chars -= _cost(gone)


def _cost(site_rules: SiteRules) -> int:
    return site_rules.rules.cost_chars + 500


def _read(blob: bytes | None) -> Kept | None:
    try:
        return _read_kept(decompress(blob, _KEPT_BYTES)) if blob is not None else None
    except DecodeError:
        return None
