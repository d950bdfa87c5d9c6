"""Fetches one page: the only part of the crawl that opens connections to web servers.

Every failure of an untrusted server becomes a `Failed` reason or a status. The address is checked at the socket that is
dialled, so that literals, names, redirects and names that change are one case. Redirects are followed hop by hop under
the same rules. One time limit covers everything (only a total limit stops a server that sends very slowly), and bytes
are counted after decompression. The caller's `Visit` does what is needed before each request: robots.txt and the host's
limits.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from enum import Enum

import aiohttp
from aiohttp.typedefs import LooseHeaders
from msgspec import Struct, structs
from yarl import URL

from roost.backend.kinds.crawl.cached_page import CachedPage, Hop
from roost.backend.kinds.crawl.fetch.public_addresses import Network, refusal
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.backend.kinds.crawl.reasons import Failed, status_reason
from roost.backend.kinds.crawl.sitemaps.sitemap_parser import SITEMAP_BYTES
from roost.backend.kinds.crawl.urls import Bounds, join

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PARSED = frozenset(("text/html", "application/xhtml+xml"))
_CODINGS = frozenset(("", "identity", "gzip", "deflate", "br", "zstd"))
"""Content codings that aiohttp decodes, or rejects when the library for it is missing; it would pass others on
undecoded.
"""
_CHUNK_BYTES = 64 * 1024
_DNS_TTL_S = 60
"""How long resolved names are cached; the address is checked at each dial anyway."""
_REFUSED = "refused by the crawler's address table"
_VALIDATOR_CHARS = 500
_MEDIA_TYPE_CHARS = 100
_LENGTH_DIGITS = 15
NOT_MODIFIED = 304


class Reading(Enum):
    """What is read of an answer: the body of HTML pages only, no body, or the body of any type, as a file."""

    PAGE = "page"
    NOTHING = "nothing"
    FILE = "file"


Visit = Callable[[str, int], AbstractAsyncContextManager[None]]
"""Called with URL and hop number, returns the context in which the request is made; it may raise to prevent the
request.
"""


class Fetched(Struct, frozen=True):
    """An answer, after the redirects `hops`.

    `body`: of a page to be parsed; None for other types, for redirects out of bounds (status 0), and when the page has
    not changed (status 304). `can_keep`: the server does not forbid caching. `size_bytes`, `time_s`: see
    `page_tasks.Detail`.
    """

    url: str
    hops: list[Hop]
    status: int = 0
    content_type: str = ""
    body: bytes | None = None
    etag: str = ""
    modified: str = ""
    can_keep: bool = True
    size_bytes: int | None = None
    time_s: float = 0.0


def _at_once(url: str, number: int) -> AbstractAsyncContextManager[None]:
    """A `Visit` without any conditions."""
    return nullcontext()


class NotFetched(Exception):
    """The page failed for `reason`, at `url`, with the last answer's status (0: none) and Retry-After header."""

    def __init__(self, reason: str, url: str, status: int = 0, retry_after: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.url = url
        self.status = status
        self.retry_after = retry_after


class Fetcher:
    """HTTP client for all fetches of a worker."""

    def __init__(self, options: CrawlOptions) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Create the connection pool; opens no connection."""
        headers: LooseHeaders = {
            "User-Agent": self._options.introduction,
            "Accept": "text/html,application/xhtml+xml,*/*;q=0.1",
            "Accept-Encoding": "gzip, deflate",
        }
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the worker bounds how many tasks run
                ttl_dns_cache=_DNS_TTL_S,
                socket_factory=_guarded_socket(self._options.networks),
            ),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # `fetch` has one limit for everything
            trust_env=False,
        )

    async def fetch(
        self,
        url: str,
        bounds: Bounds,
        timeout_s: float,
        known: CachedPage | None = None,
        visit: Visit = _at_once,
        reading: Reading = Reading.PAGE,
    ) -> Fetched:
        """Fetch the page at `url`, following redirects within `bounds`; `known` is the cached page, for a conditional
        request.

        Raises NotFetched, and what `visit` raises.
        """
        try:
            async with asyncio.timeout(timeout_s):
                if reading is Reading.NOTHING:
                    return await self._check(url, bounds, known, visit)
                return await self._follow(url, bounds, known, visit, reading)
        except (aiohttp.ClientError, OSError, ValueError) as problem:  # TimeoutError is an OSError
            raise NotFetched(_reason(problem), url) from problem

    async def beginning(self, url: str, most_bytes: int, timeout_s: float) -> tuple[int, bytes]:
        """Return the status and at most `most_bytes` first bytes of the resource at `url`, of any type; redirects are
        followed.

        The status is that of a redirect when its target is invalid, or there are too many. Raises NotFetched.
        """
        assert self._session is not None, "start comes first"
        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(self._options.redirects + 1):
                    async with self._session.get(URL(url, encoded=True), allow_redirects=False) as response:
                        location = response.headers.get("Location")
                        target = join(url, _as_text(location)) if location else None
                        if response.status not in _REDIRECTS or target is None:
                            return response.status, await _first_bytes(response, most_bytes)
                        url = target
                return response.status, b""
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise NotFetched(_reason(problem), url) from problem

    async def stop(self) -> None:
        """Close all connections; fine to call twice."""
        if self._session is not None:
            await self._session.close()

    async def _check(self, url: str, bounds: Bounds, known: CachedPage | None, visit: Visit) -> Fetched:
        """Check by HEAD; when the server rejects it or gives no valid answer, by GET, as some servers support only
        that.
        """
        try:
            return await self._follow(url, bounds, known, visit, Reading.NOTHING, "HEAD")
        except NotFetched as problem:
            if problem.status < 400 or problem.status == 429:
                raise
        except aiohttp.ClientConnectorError:
            raise
        except aiohttp.ClientError:
            pass
        return await self._follow(url, bounds, known, visit, Reading.NOTHING, first=1)

    async def _follow(
        self,
        url: str,
        bounds: Bounds,
        known: CachedPage | None,
        visit: Visit,
        reading: Reading,
        method: str = "GET",
        first: int = 0,
    ) -> Fetched:
        assert self._session is not None, "start comes first"
        hops: list[Hop] = []
        cached_url, conditions = (known.place(url), _conditions(known)) if known else ("", {})
        clock = asyncio.get_running_loop().time
        for number in range(first, first + self._options.redirects + 1):
            headers = conditions if url == cached_url else {}
            async with visit(url, number):
                began = clock()
                async with self._session.request(
                    method, URL(url, encoded=True), allow_redirects=False, headers=headers
                ) as response:
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or location is None:
                        page = await self._read(url, hops, response, bool(headers), reading)
                        return structs.replace(page, time_s=round(clock() - began, 4))
                    target = join(url, _as_text(location))
                    if target is None:
                        raise NotFetched(Failed.BAD_REDIRECT, url, response.status)
                    hops.append(Hop(response.status, target))
                    if not bounds.allows(target):
                        return Fetched(url, hops)
                    url = target
        raise NotFetched(Failed.REDIRECTS, url, response.status)

    async def _read(
        self, url: str, hops: list[Hop], response: aiohttp.ClientResponse, is_conditional: bool, reading: Reading
    ) -> Fetched:
        status, headers = response.status, response.headers
        if status == NOT_MODIFIED and is_conditional:
            return Fetched(url, hops, status)
        if not 200 <= status < 300:
            raise NotFetched(status_reason(status), url, status, headers.get("Retry-After", ""))
        content_type = headers.get("Content-Type", "text/html")
        page = Fetched(
            url,
            hops,
            status,
            content_type,
            etag=_validator(headers.get("ETag")),
            modified=_validator(headers.get("Last-Modified")),
            can_keep="no-store" not in headers.get("Cache-Control", "").lower(),
            size_bytes=_length(headers.get("Content-Length")),
        )
        if reading is Reading.NOTHING or (reading is Reading.PAGE and media_type(content_type) not in _PARSED):
            return page
        most_bytes = self._options.page_bytes if reading is Reading.PAGE else SITEMAP_BYTES
        if not _is_readable(response):
            raise NotFetched(Failed.BAD_RESPONSE, url, status)
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > most_bytes:
                raise NotFetched(Failed.TOO_BIG, url, status)
        return structs.replace(page, body=bytes(body), size_bytes=len(body))


async def _first_bytes(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    if response.status >= 300:
        return b""
    if not _is_readable(response):
        raise ValueError("unknown content coding")
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) >= most_bytes:
            break
    return bytes(body[:most_bytes])


def media_type(content_type: str) -> str:
    """Return the media type without parameters, safe to show; "" when it is not printable ASCII."""
    written = content_type.partition(";")[0].strip().lower()[:_MEDIA_TYPE_CHARS]
    return written if written.isascii() and written.isprintable() else ""


def _length(content_length: str | None) -> int | None:
    """Return the Content-Length as a number; None when it is invalid."""
    text = content_length or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LENGTH_DIGITS else None


def _is_readable(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Content-Encoding", "").strip().lower() in _CODINGS


def _guarded_socket(allowed: tuple[Network, ...]) -> aiohttp.SocketFactoryType:
    def make(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if refusal(str(address[0]), allowed):
            raise OSError(errno.EACCES, _REFUSED)  # with one argument aiohttp would lose the message
        return socket.socket(family, kind, protocol)

    return make


def _conditions(known: CachedPage) -> dict[str, str]:
    """Return the headers of a conditional request (RFC 9110 section 13.1)."""
    headers = {"If-None-Match": known.etag, "If-Modified-Since": known.modified}
    return {name: value for name, value in headers.items() if value and known.status}


def _validator(value: str | None) -> str:
    """Return a validator that may be sent back unchanged, or ""."""
    return value if value and len(value) <= _VALIDATOR_CHARS and value.isascii() and value.isprintable() else ""


def _as_text(location: str) -> str:
    """Return a Location header without the lone surrogates that stand for bytes which were not UTF-8."""
    return location if location.isascii() else location.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _reason(problem: Exception) -> str:
    """Translate an error of aiohttp or the system to a `Failed` reason."""
    if isinstance(problem, TimeoutError):
        return Failed.TIMEOUT
    if isinstance(problem, UnicodeError | aiohttp.ClientConnectorDNSError | aiohttp.InvalidURL):
        return Failed.UNRESOLVED  # the first and the last: a name that cannot be asked for
    if isinstance(problem, aiohttp.ClientSSLError):
        return Failed.TLS
    if isinstance(problem, aiohttp.ClientConnectorError):
        return Failed.REFUSED_ADDRESS if _REFUSED in str(problem) else Failed.UNREACHABLE
    return Failed.CUT_OFF if _is_cut_off(problem) else Failed.BAD_RESPONSE


def _is_cut_off(problem: Exception) -> bool:
    """Whether the connection ended before the answer did. aiohttp asks again by itself only on one that it had kept."""
    if isinstance(problem, aiohttp.ClientPayloadError):
        return "payload is not completed" in str(problem)  # aiohttp has no type of its own for it
    return isinstance(problem, aiohttp.ServerDisconnectedError | ConnectionError | aiohttp.ClientOSError)
