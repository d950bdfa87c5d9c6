"""A web server that misbehaves, a path for each way."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache

Writer = asyncio.StreamWriter
Behaviour = Callable[[Writer], Awaitable[None]]

_LINK = b"<a href=/next>next</a>"


def raw(data: bytes) -> Behaviour:
    """Send these bytes and close."""

    async def behave(writer: Writer) -> None:
        writer.write(data)
        await writer.drain()

    return behave


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole answer that closes the connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    if not any(line.lower().startswith("content-type") for line in headers):
        lines.append("Content-Type: text/html")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(location: str, status: str = "302 Found") -> Behaviour:
    """Send the client elsewhere."""
    return raw(response(b"", status, f"Location: {location}"))


def endless(head: bytes, piece: bytes, pause_s: float = 0.0) -> Behaviour:
    """Never stop sending."""

    async def behave(writer: Writer) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return behave


def reset(data: bytes) -> Behaviour:
    """Send these bytes, and break the connection off by a reset."""

    async def behave(writer: Writer) -> None:
        await raw(data)(writer)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave


async def _silence(writer: Writer) -> None:
    await writer.wait_closed()


@cache
def _bomb() -> bytes:
    """200 MB in 200 KB."""
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(200)) + packer.flush()


def bomb(wrapping: Callable[[bytes], bytes], coding: str) -> Behaviour:
    """Send 200 MB as a few compressed bytes, which are made when they are asked for."""

    async def behave(writer: Writer) -> None:
        await raw(response(wrapping(_bomb()), "200 OK", f"Content-Encoding: {coding}"))(writer)

    return behave


_CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
_OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"

BEHAVIOURS: dict[str, tuple[Behaviour, str | None]] = {
    "fine": (raw(response(_LINK)), None),
    "until-close": (raw(_OPEN + _LINK), None),
    "chunked": (raw(_CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(_LINK), _LINK)), None),
    "gzip": (raw(response(gzip.compress(_LINK), "200 OK", "Content-Encoding: gzip")), None),
    "deflate": (raw(response(zlib.compress(_LINK), "200 OK", "Content-Encoding: deflate")), None),
    "no-type": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_LINK), _LINK)), None),
    "http-1.0": (raw(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + _LINK), None),
    "early-hints": (raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + response(_LINK)), None),
    "404": (raw(response(_LINK, "404 Not Found")), "status_404"),
    "410-silent": (raw(b"HTTP/1.1 410 Gone\r\nContent-Length: 1000\r\n\r\n"), "status_410"),
    "500": (raw(response(_LINK, "500 Internal Server Error")), "status_500"),
    "304": (raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "status_304"),
    "302-to-nowhere": (raw(response(_LINK, "302 Found")), "status_302"),
    "999": (raw(response(_LINK, "999 Go Away")), "status_999"),
    "redirect-to-itself": (redirect("/redirect-to-itself"), "redirects"),
    "redirect-in-circles": (redirect("/redirect-in-circles-2"), "redirects"),
    "redirect-in-circles-2": (redirect("/redirect-in-circles"), "redirects"),
    "redirect-to-script": (redirect("javascript:alert(1)"), "bad_redirect"),
    "redirect-to-file": (redirect("file:///etc/passwd"), "bad_redirect"),
    "redirect-to-nonsense": (redirect("http://[::"), "bad_redirect"),
    "redirect-to-404": (redirect("/404"), "status_404"),
    "redirect-to-fine": (redirect("fine#part"), None),
    "redirect-308": (redirect("/fine?x", "308 Permanent Redirect"), None),
    "gzip-bomb": (bomb(bytes, "gzip"), "too_big"),
    "gzip-bomb-twice": (bomb(gzip.compress, "gzip, gzip"), "bad_response"),
    "gzip-broken": (raw(response(b"not gzip at all", "200 OK", "Content-Encoding: gzip")), "bad_response"),
    "gzip-cut": (
        raw(response(gzip.compress(_LINK * 99)[:40], "200 OK", "Content-Encoding: gzip")),
        None,
    ),  # what could be read counts
    "unknown-coding": (raw(response(_LINK, "200 OK", "Content-Encoding: zopfli")), "bad_response"),
    "endless-body": (endless(_OPEN, b"x" * 65536), "too_big"),
    "endless-chunks": (endless(_CHUNKED, b"1\r\nx\r\n" * 10_000), "too_big"),
    "dripping-body": (endless(_OPEN, b"x", 0.02), "timeout"),
    "dripping-head": (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.02), "timeout"),
    "endless-head": (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100), "bad_response"),
    "endless-header": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 4096), "bad_response"),
    "endless-status": (endless(b"HTTP/1.1 200 ", b"O" * 4096), "bad_response"),
    "silence": (_silence, "timeout"),
    "silent-body": (
        endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n", b"", 0.02),
        "timeout",
    ),
    "hang-up": (raw(b""), "cut_off"),
    "reset": (reset(b""), "cut_off"),
    "reset-in-body": (reset(_CHUNKED + b"ff\r\n"), "cut_off"),
    "hang-up-in-head": (raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), "cut_off"),
    "too-short": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 999\r\n\r\n" + _LINK),
        "cut_off",
    ),
    "two-lengths": (raw(response(_LINK, "200 OK", "Content-Length: 5")), "bad_response"),
    "negative-length": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + _LINK), "bad_response"),
    "broken-chunk": (raw(_CHUNKED + b"zz\r\n" + _LINK), "bad_response"),
    "huge-chunk": (raw(_CHUNKED + b"fffffffffffffffff\r\n" + _LINK), "bad_response"),
    "cut-chunk": (raw(_CHUNKED + b"ff\r\n" + _LINK), "cut_off"),
    "not-http": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "bad_response"),
    "http-0.9": (raw(_LINK), "bad_response"),
    "binary": (raw(bytes(range(256)) * 20), "bad_response"),
}
"""Path -> what happens there, and the reason it must end in; None is a page with a link to ``/next``."""
_MISSING = (raw(response(b"", "404 Not Found")), "status_404")
"""Any other path, such as ``/robots.txt`` unless a test puts something there."""


@asynccontextmanager
async def hostile_site() -> AsyncIterator[str]:
    """The URL of a server with all of the above, which ends with a slash."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode().lstrip("/").partition("?")[0]
            await (BEHAVIOURS.get(path) or _MISSING)[0](writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
