"""Slow sites, and what a crawl of one must find.

A site of width w has w pages in each layer but the first, which is the start page alone; each page links to all pages
of the next layer. Run as a script, in a container that has aiohttp, it serves them all: the path says the rest.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

PORT = 8080
DEPTH = 6
DELAY_S = 1.0
"""Each page takes that long, so that a crawl is under way for several seconds without costing anything."""


def start(host: str, width: int) -> str:
    """The start page of the site of this width on this host."""
    return _page(host, width, 0, 0)


def expected(host: str, width: int) -> list[list[str]]:
    """The levels of a crawl of depth `DEPTH`, each sorted."""
    layers = [[_page(host, width, layer, page) for page in range(width)] for layer in range(1, DEPTH + 1)]
    return [[start(host, width)], *map(sorted, layers)]


def _page(host: str, width: int, layer: int, page: int) -> str:
    return f"http://{host}:{PORT}/{width}/{layer}/{page}"


async def _serve_page(request: web.Request) -> web.Response:
    await asyncio.sleep(DELAY_S)
    width, layer = int(request.match_info["width"]), int(request.match_info["layer"])
    links = (f'<a href="/{width}/{layer + 1}/{page}">{page}</a>' for page in range(width))
    return web.Response(text=f"<title>{layer}</title>{''.join(links)}", content_type="text/html")


def main() -> None:
    """Serve until a signal ends it."""
    app = web.Application()
    app.router.add_get(r"/{width:\d+}/{layer:\d+}/{page:\d+}", _serve_page)
    web.run_app(app, port=PORT, print=None, access_log=None)


if __name__ == "__main__":
    main()
