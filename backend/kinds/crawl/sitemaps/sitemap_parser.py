"""Parses sitemaps (sitemaps.org protocol 0.9), in which a site lists its pages. Pure.

A sitemap is XML or a list of lines, perhaps compressed, that names pages (``urlset``) or other sitemaps
(``sitemapindex``). A document type is refused, and with it every entity that could expand or read files; so is XML that
nests deeper than any sitemap.
"""

from __future__ import annotations

import zlib
from itertools import islice
from xml.parsers import expat

from msgspec import Struct

from roost.backend.kinds.crawl.urls import MAX_URL_CHARS, join

SITEMAP_BYTES = 16 * 1024 * 1024
"""Most bytes of a sitemap, before and after decompression: 300 bytes for each URL of a full one."""
MAX_URLS = 50_000
"""Most URLs in a sitemap, by the protocol."""
MAX_CHARS = 4_000_000
"""Most characters of all URLs of a sitemap together; bounds what a worker sends to a master."""
MAX_NAMED = 100
"""Most sitemaps read from a robots.txt."""
_DEPTH = 8
"""Deepest nesting: ``urlset``, ``url``, an extension's element, and its contents."""
_NAMES = {"urlset": "url", "sitemapindex": "sitemap"}


class BadSitemap(Exception):
    """The file is not a valid sitemap."""


class Sitemap(Struct, frozen=True):
    """Distinct URLs of pages and of other sitemaps; `cut`: there were more than the limits allow."""

    pages: list[str]
    maps: list[str]
    cut: bool = False


def named_sitemaps(robots: bytes, site: str) -> list[str]:
    """Return the sitemaps that the robots.txt of `site` (scheme and host) names (RFC 9309 section 2.2.4)."""
    lines = (line.partition(b":") for line in robots.splitlines() if line.lstrip()[:7].lower() == b"sitemap")
    named = (value.strip() for name, _, value in lines if name.strip().lower() == b"sitemap")
    urls = (join(site + "/", value.decode("utf-8", "replace")) for value in islice(named, MAX_NAMED))
    return list(dict.fromkeys(url for url in urls if url is not None))


def read_sitemap(body: bytes, url: str) -> Sitemap:
    """Parse the sitemap `body`, found at `url`. Raises BadSitemap."""
    text, cut = _decompressed(body) if is_compressed(body) else (body, False)
    start = text[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"http://", b"https://")):
        lines = text.decode("utf-8-sig", "replace").splitlines()
        return _sitemap("urlset", lines, url, cut)
    reader = _Reader()
    reader.read(text, is_whole=not cut)
    return _sitemap(reader.root, reader.locations, url, cut)


def is_compressed(body: bytes) -> bool:
    """Whether the file is in gzip format."""
    return body[:2] == b"\x1f\x8b"


def _decompressed(body: bytes) -> tuple[bytes, bool]:
    """Return the decompressed text up to the limit, and whether there is more."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        text = unzip.decompress(body, SITEMAP_BYTES)
    except zlib.error as problem:
        raise BadSitemap(str(problem)) from problem
    return text, bool(unzip.unconsumed_tail)


def _sitemap(root: str, locations: list[str], url: str, cut: bool) -> Sitemap:
    urls: dict[str, None] = {}
    chars = 0
    for location in locations:
        target = join(url, location.strip()) if location.strip() else None
        if target is None or target in urls:
            continue
        chars += len(target)
        if len(urls) == MAX_URLS or chars > MAX_CHARS:
            cut = True
            break
        urls[target] = None
    return Sitemap(list(urls), [], cut) if root == "urlset" else Sitemap([], list(urls), cut)


class _Reader:
    """Collects the text of each ``loc``."""

    def __init__(self) -> None:
        self.root = ""
        self.locations: list[str] = []
        self._path: list[str] = []
        self._text: list[str] | None = None

    def read(self, text: bytes, is_whole: bool) -> None:
        """Parse the whole text in one call: with each further piece, expat would scan an unfinished token again from
        its start.
        """
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(text, is_whole)
        except (expat.ExpatError, ValueError, LookupError) as problem:  # the latter two: of an encoding
            raise BadSitemap(str(problem)) from problem
        if not self.root:
            raise BadSitemap("nothing is in it")

    def _refuse(self, *_: object) -> None:
        raise BadSitemap("it has a document type")

    def _start(self, name: str, _: object) -> None:
        local = name.rpartition(" ")[2]
        if not self._path:
            if local not in _NAMES:
                raise BadSitemap("its root is another")
            self.root = local
        self._path.append(local)
        if len(self._path) > _DEPTH:
            raise BadSitemap("it nests too deep")
        if self._path == [self.root, _NAMES[self.root], "loc"]:
            self._text = []

    def _end(self, _: str) -> None:
        self._path.pop()
        if self._text is not None:
            self.locations.append("".join(self._text)[: MAX_URL_CHARS + 1])
            self._text = None

    def _characters(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)
