"""CORS headers: which web pages may read discovery's answers (Fetch standard, section 3.2, the CORS protocol)."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from roost.wire.origins import ANY, AllowedOrigins

ANY_PAGE = AllowedOrigins("")


def share_reads(origins: AllowedOrigins) -> Middleware:
    """A middleware that allows pages of these origins, or all pages if any origin is allowed, to read GET answers."""

    @web.middleware
    async def share(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.method not in ("GET", "HEAD") or response.prepared:
            return response
        origin = request.headers.get("Origin", "")
        if not origins.is_any:
            response.headers["Vary"] = "Origin"
        if origins.is_any or (origin and origins.admits(origin)):
            response.headers["Access-Control-Allow-Origin"] = ANY if origins.is_any else origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        return response

    return share
