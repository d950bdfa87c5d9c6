"""Responses of discovery's routes: JSON that must not be cached, and errors that say what to do."""

from __future__ import annotations

from aiohttp import web

from roost.wire.codec import to_json


def in_json(value: object, status: int = 200) -> web.Response:
    """A response with the value as one line of JSON."""
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=to_json(value) + b"\n", status=status, content_type="application/json", headers=headers)


def refuse(status: int, code: str, message: str, retry_after_s: int | None = None) -> web.Response:
    """An error response with ``{code, message}``, and a Retry-After header where `retry_after_s` is given."""
    response = in_json({"code": str(code), "message": message}, status)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response
