"""A client's crawl options, checked and normalised, so that equal requests have equal specs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from ada_url import URL
from msgspec import Meta, Struct

from roost.backend.kinds.crawl.globs import MAX_GLOBS, Globs, normal_globs
from roost.backend.kinds.crawl.html.selection import checked_selections
from roost.backend.kinds.crawl.urls import MAX_URL_CHARS, Bounds, Scope, has_long_host, parse
from roost.wire.codec import Unpacker
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, DecodeError

MAX_DEPTH = 32
"""No site needs more; for a page further away, start the crawl closer to it."""
MAX_PAGES = 1_000_000
MAX_AGE_S = 7 * 86_400.0
MAX_SECONDS = 86_400.0

GlobTexts = Annotated[tuple[str, ...], Meta(max_length=MAX_GLOBS)]


class CrawlSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of one crawl.

    `depth`: how many links away from the start page URLs are listed. `scope`: which links are followed. `max_pages`:
    most pages that are fetched. `max_age_s`: how old a shared or cached answer may be; 0 requires a new one.
    `max_seconds`: after this time the crawl expires with what it has. `include`, `exclude`: patterns (`globs`) of links
    that are followed, and of links that are not. `detail`: report status, parent, type, size and time of each page.
    `links`: report which page links to which. `check`: also request the pages of the last level, without reading them,
    and report broken links. `sitemaps`: URLs in the site's sitemaps count as linked from the start page. `select`: what
    to extract from each page, CSS selectors by name (`selection`); implies `detail`.
    """

    url: str
    depth: Annotated[int, Meta(ge=0, le=MAX_DEPTH)] = 1
    scope: Scope = Scope.HOST
    max_pages: Annotated[int, Meta(ge=1, le=MAX_PAGES)] = 10_000
    max_age_s: Annotated[float, Meta(ge=0, le=MAX_AGE_S)] = 300.0
    max_seconds: Annotated[float, Meta(ge=1, le=MAX_SECONDS)] = 3600.0
    include: GlobTexts = ()
    exclude: GlobTexts = ()
    detail: bool = False
    links: bool = False
    check: bool = False
    sitemaps: bool = False
    select: dict[str, str] = {}

    @property
    def bounds(self) -> Bounds:
        """Which URLs the crawl may fetch."""
        globs = Globs(self.include, self.exclude) if self.include or self.exclude else None
        return Bounds.around(self.url, self.scope, globs)


_reader = msgspec.json.Decoder(CrawlSpec)
unpack_spec: Unpacker[CrawlSpec] = Unpacker(CrawlSpec, "crawl spec")


def read_spec(text: bytes) -> CrawlSpec:
    """Parse a client's JSON; the URL of the spec is serialised. Raises BadInput: `bad_url` or `bad_spec`."""
    try:
        spec = _reader.decode(text)
    except msgspec.ValidationError as problem:
        raise BadInput(ErrorCode.BAD_SPEC, f"change the crawl's options: {problem}") from problem
    except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
        raise DecodeError(ErrorCode.BAD_SPEC, f"send the crawl's options as a JSON object: {problem}") from problem
    return msgspec.structs.replace(
        spec,
        url=start_url(spec.url),
        include=checked_globs(spec.include),
        exclude=checked_globs(spec.exclude),
        select=checked_select(spec.select),
    )


def checked_globs(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns normalised. Raises BadInput `bad_spec`."""
    try:
        return normal_globs(patterns)
    except ValueError as problem:
        raise BadInput(ErrorCode.BAD_SPEC, str(problem)) from problem


def checked_select(select: Mapping[str, str]) -> dict[str, str]:
    """Return the selectors normalised. Raises BadInput `bad_spec`."""
    try:
        return checked_selections(select)
    except ValueError as problem:
        raise BadInput(ErrorCode.BAD_SPEC, str(problem)) from problem


MAX_PORT = 65535
_LONG_URL = f"use a URL of at most {MAX_URL_CHARS} characters"
_PORT = re.compile(r"\s*https?://[^/?#]*:(\d{5,})(?:[/?#]|\s*$)", re.I)


def start_url(text: str) -> str:
    """Return the start URL in serialised form. Raises BadInput `bad_url`."""
    if "\0" in text:
        raise _bad_url("take the NUL character out of the URL")
    if has_long_host(text):
        raise _bad_url(_LONG_URL if len(text) > MAX_URL_CHARS else "use a host name of at most 253 characters")
    try:
        url = URL(text)
    except ValueError:  # UnicodeError is one: a lone surrogate cannot be part of a URL
        port = _PORT.match(text)
        if port and int(port[1][:9]) > MAX_PORT:
            raise _bad_url(f"use a port of at most {MAX_PORT}") from None
        raise _bad_url("write a whole web address, such as https://example.org/page") from None
    if url.protocol not in ("http:", "https:"):
        raise _bad_url(f"start the URL with http:// or https://, not {url.protocol[:20]}")
    if url.username or url.password:
        raise _bad_url("take the user name and password out of the URL: pages behind a login are not crawled")
    normal = parse(url.href)
    if normal is None:
        raise _bad_url(_LONG_URL)
    return normal


def _bad_url(advice: str) -> BadInput:
    return BadInput(ErrorCode.BAD_URL, advice)
