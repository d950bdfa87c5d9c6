"""A web server of a test's own, whose log says what was asked and when."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Answer = web.Response | Callable[[web.Request], Awaitable[web.Response]]
ROBOTS = "robots.txt"


def page(*links: str, **headers: str) -> web.Response:
    """HTML with these links; `headers` with underscores."""
    body = "".join(f"<a href='{link}'>x</a>" for link in links)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(text=body, content_type="text/html", headers=named)


@dataclass
class Site:
    """Pages by path (with the query), other paths are missing.

    `log` has monotonic time, path and headers of each request, `methods` its method and path.
    """

    pages: dict[str, Answer]
    url: str = ""
    log: list[tuple[float, str, dict[str, str]]] = field(default_factory=list)
    methods: list[tuple[str, str]] = field(default_factory=list)

    def asked(self) -> list[str]:
        """Paths of all requests so far but those for robots.txt, in order, and forget them."""
        paths = [path for _, path, _ in self.log if path != ROBOTS]
        self.log.clear()
        return paths

    async def answer(self, request: web.Request) -> web.Response:
        """A fresh copy of the page, 304 when the client has it."""
        path = request.path_qs.removeprefix("/")
        self.methods.append((request.method, path))
        self.log.append((time.monotonic(), path, dict(request.headers)))
        known = self.pages.get(path)
        if known is None:
            return web.Response(status=404)
        made = await known(request) if callable(known) else known
        etag = made.headers.get("ETag")
        if etag and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=made.body, status=made.status, headers=made.headers)


@asynccontextmanager
async def serve(pages: dict[str, Answer], address: str = "127.0.0.1") -> AsyncIterator[Site]:
    """A site with these pages; its URL ends with a slash."""
    site = Site(pages)
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, address, 0).start()
    site.url = f"http://{address}:{runner.addresses[0][1]}/"
    try:
        yield site
    finally:
        await runner.cleanup()


def robots(text: str | bytes, status: int = 200) -> web.Response:
    """A robots.txt."""
    body = text.encode() if isinstance(text, str) else text
    return web.Response(body=body, status=status, content_type="text/plain")


def tree(width: int, depth: int) -> dict[str, Answer]:
    """Pages whose names grow by a digit with each level: ``""`` links to 0, 1, ..., ``0`` to 00, 01, ..."""
    pages: dict[str, Answer] = {}
    level = [""]
    for _ in range(depth):
        for name in level:
            pages[name] = page(*(f"/{name}{i}" for i in range(width)), ETag=f'"{name}"')
        level = [f"{name}{i}" for name in level for i in range(width)]
    return pages | {name: page(ETag=f'"{name}"') for name in level}
