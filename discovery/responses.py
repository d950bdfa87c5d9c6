"""What discovery's routes answer with: JSON that nobody keeps, and refusals that say what to do."""

from __future__ import annotations

from aiohttp import web

from roost.wire.codec import to_json


def in_json(value: object, status: int = 200) -> web.Response:
    """A value as JSON, one line."""
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=to_json(value) + b"\n", status=status, content_type="application/json", headers=headers)


def refuse(status: int, code: str, message: str, retry_after_s: int | None = None) -> web.Response:
    """An error as JSON."""
    response = in_json({"code": str(code), "message": message}, status)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response
