"""A small site whose last page answers only when a test lets it."""

from __future__ import annotations

import asyncio

from aiohttp import web


class Site:
    """``/`` links to ``/a`` and ``/slow``; ``/a`` links to ``/b``; ``/slow`` waits for `gate`."""

    def __init__(self) -> None:
        self.url = ""
        self.gate = asyncio.Event()
        self.slow_asked = asyncio.Event()
        self.slow_left = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get(
            "/", self._page('<a href="/a">a</a> <a href="/slow">s</a> <a href="http://o.example/">o</a>')
        )
        app.router.add_get("/a", self._page('<a href="/b">b</a>'))
        app.router.add_get("/gone-by", self._page('<a href="/no">n</a>'))
        app.router.add_get("/b", self._page("the end"))
        app.router.add_get("/slow", self._slow)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @staticmethod
    def _page(html: str) -> web.Handler:  # type: ignore[name-defined]
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=html, content_type="text/html")

        return answer

    async def _slow(self, _: web.Request) -> web.Response:
        self.slow_asked.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.slow_left.set()
            raise
        return web.Response(text="at last", content_type="text/html")
