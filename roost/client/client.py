"""The Python client.

::

    async with roost.connect("http://127.0.0.1:8000") as client:
        result = await client.crawl("https://example.org", depth=2)

        request = client.submit("crawl", {"url": "https://example.org", "depth": 2}, stream=True)
        async for event in request.events():
            print(event)
        result = await request.result()

The client reconnects by itself; requests and results outlive a connection. Leaving the ``async with`` block cancels
requests that have not ended, unless there is a session file, with which the next run of the program can `resume` them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from roost.client.connection import PATIENCE_S, Connection
from roost.client.crawl_answer import assemble_crawl
from roost.client.effects import Ended, News, Welcomed
from roost.client.identity import Identity, load_identity, save_identity
from roost.client.request import Request, assemble_any
from roost.client.route import Route
from roost.client.session import Session
from roost.errors import Closed, Unreachable
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.codec import to_json
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, Misuse, RoostError

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult

log = logging.getLogger(__name__)

CONNECT_WITHIN_S = 10.0
"""Timeout of the first connection: a wrong address should be reported soon."""

CRAWL = "crawl"
_ASSEMBLE = {CRAWL: assemble_crawl}


def connect(
    discovery: str | Sequence[str],
    *,
    wait: bool = False,
    session_file: str | Path | None = None,
    connect_within_s: float = CONNECT_WITHIN_S,
    patience_s: float = PATIENCE_S,
    clock: Clock = SYSTEM_CLOCK,
) -> Client:
    """A client for ``async with``.

    `discovery` is the URL of discovery or of each of its replicas; a ``ws://`` URL is that of a gateway. With
    `wait`, requests refused as busy or overloaded are tried again instead of raising. `session_file` stores the
    client's identity; only one program at a time may use it. `patience_s` is how many seconds requests wait without
    any connection. Entering raises Unreachable after `connect_within_s` seconds, and BadInput for an unusable URL or
    session file.
    """
    urls = [discovery] if isinstance(discovery, str) else list(discovery)
    path = Path(session_file) if session_file is not None else None
    return Client(urls, wait, path, connect_within_s, patience_s, clock)


class Client:
    """One client with one connection at a time and any number of requests. Made by `connect`."""

    def __init__(
        self,
        urls: Sequence[str],
        wait: bool,
        session_file: Path | None,
        connect_within_s: float,
        patience_s: float,
        clock: Clock,
    ) -> None:
        self._urls, self._waits, self._session_file = urls, wait, session_file
        self._connect_within_s, self._patience_s, self._clock = connect_within_s, patience_s, clock
        self._requests: dict[str, Request] = {}
        self._welcomed = asyncio.Event()
        self._closed: Closed | None = None
        self._session = Session()
        self._connection: Connection | None = None
        self._http: aiohttp.ClientSession | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        identity = load_identity(self._session_file) if self._session_file else Identity()
        self._session = Session(identity.session, identity.epoch, self._waits)
        self._http = aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=None))
        try:
            route = Route(self._http, self._urls)
            jitter = random.SystemRandom().random
            self._connection = Connection(route, self._session, self._deliver, self._clock, jitter, self._patience_s)
            self._running = asyncio.create_task(self._run(self._connection))
            await self._first_welcome(self._connection)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def crawl(
        self,
        url: str,
        depth: int = 1,
        *,
        scope: str = "host",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_pages: int | None = None,
        detail: bool = False,
        links: bool = False,
        check: bool = False,
        sitemaps: bool = False,
        select: Mapping[str, str] | None = None,
        **options: Any,
    ) -> CrawlResult:
        """Crawl a site and return what was found.

        `include`, `exclude`: which links to follow, by patterns such as ``/docs/*``. `sitemaps`: also start from the
        pages in the site's sitemaps. `detail` fills the result's `pages` and `parents`, `links` its `links`, `check`
        its `broken`, `select` (CSS selectors by name) the `selected` of its pages. `options` are further fields of the
        crawl's spec, such as `max_age_s`. Raises what `Request.result` raises; `JobFailed.result` is a CrawlResult too.
        """
        wanted = {
            "include": list(include),
            "exclude": list(exclude),
            "max_pages": max_pages,
            "detail": detail,
            "links": links,
            "check": check,
            "sitemaps": sitemaps,
            "select": dict(select or {}),
        }
        spec = {"url": url, "depth": depth, "scope": scope} | {name: value for name, value in wanted.items() if value}
        spec |= options
        request = self.submit(CRAWL, spec)
        try:
            return await request.result()  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            await request.cancel()
            raise

    def submit(self, kind: str, spec: Mapping[str, Any], *, stream: bool = False, id: str | None = None) -> Request:
        """Ask for a job; returns at once. With `stream` the request has events.

        Choose an `id` (1 to 64 visible ASCII characters, new for this client) to `resume` the request in another run
        of the program. Raises Misuse for an id in use, BadInput for a spec that is not JSON.
        """
        try:
            text = to_json(dict(spec))
        except (TypeError, ValueError) as problem:
            raise BadInput(ErrorCode.BAD_SPEC, f"the spec must be made of JSON values: {problem}") from problem
        return self._ask(id or secrets.token_hex(8), kind, text, stream, spec)

    def resume(self, id: str, kind: str = CRAWL) -> Request:
        """The request that an earlier run of this client (with the same session file) submitted under this id."""
        return self._ask(id, kind, None, stream=True)

    async def close(self) -> None:
        """Cancel requests that have not ended, unless there is a session file, and close the connection.

        Fine to call twice.
        """
        self._closed = self._closed or Closed("the client is closed")
        if self._connection is not None and self._session_file is None:
            for request in self._session.unfinished():
                self._connection.perform(self._session.cancel(request))
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()
        if self._http is not None:
            await self._http.close()
        self._end_all(self._closed)

    def _ask(
        self, request_id: str, kind: str, text: bytes | None, stream: bool, spec: Mapping[str, Any] | None = None
    ) -> Request:
        if self._connection is None:
            raise Misuse("a client is used inside its `async with` block")
        if self._closed is not None:
            raise self._closed
        if request_id in self._requests:
            raise Misuse(f"request {request_id} is live already: choose a new id")
        if not 0 < len(request_id) <= 64 or not all("!" <= c <= "~" for c in request_id):
            raise BadInput(ErrorCode.BAD_MESSAGE, "an id has 1 to 64 visible ASCII characters")
        request = Request(request_id, kind, self._cancel, partial(_ASSEMBLE.get(kind, assemble_any), spec or {}))
        self._requests[request_id] = request
        self._connection.perform(self._session.submit(request_id, kind, text, stream))
        return request

    def _cancel(self, request_id: str) -> None:
        if self._connection is not None:
            self._connection.perform(self._session.cancel(request_id))

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Closed as closed:
            self._closed = closed
        except Exception as bug:
            log.exception("client failed", extra={"action": "client_failed"})
            self._closed = Closed(f"the client failed: {bug!r}")
        self._end_all(self._closed or Closed("the client is closed"))
        self._welcomed.set()

    async def _first_welcome(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._connect_within_s):
                await self._welcomed.wait()
        except TimeoutError:
            raise Unreachable(connection.problem) from None
        if self._closed is not None:
            raise self._closed

    def _deliver(self, effect: Ended | News | Welcomed) -> None:
        match effect:
            case Welcomed(session):
                self._welcomed.set()
                if self._session_file is not None:
                    self._keep(self._session_file, session)
            case News(request, event):
                self._requests[request].take_news(event)
            case Ended(request, answer):
                self._requests.pop(request).take_end(answer)

    def _keep(self, path: Path, session: str) -> None:
        try:
            save_identity(path, Identity(session, self._session.epoch))
        except BadInput as problem:
            log.warning("session not saved", extra={"action": "session_not_kept", "reason": problem.message})

    def _end_all(self, problem: RoostError) -> None:
        for request in self._requests.values():
            request.take_end(problem)
        self._requests.clear()
