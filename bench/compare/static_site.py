"""A static web server that uses as little processor time as possible: ``python -m bench.compare.static_site FOLDER``.

It serves the site that crawlers are compared on. All files are in memory with their headers, connections are kept
alive, and requests are answered in order. The server prints its URL. Then each line ``asked`` on standard input is
answered by a JSON list of all paths that were requested since the last such line, in order, found or not. With that
list `bench.compare.crawl` checks what the crawlers report about themselves.
"""

from __future__ import annotations

import asyncio
import mimetypes
import sys
from pathlib import Path
from typing import cast
from urllib.parse import unquote

import uvloop

from roost.wire.codec import to_json

HOST = "127.0.0.1"
_END = b"\r\n\r\n"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def answers(folder: Path) -> dict[str, bytes]:
    """The whole answer for each path; a folder's is that of its index."""
    found = {}
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        body = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        head = (
            f'HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nETag: "{hash(body):x}"\r\n\r\n'
        )
        path = f"/{file.relative_to(folder)}"
        found[path] = head.encode() + body
        if file.name == "index.html":
            found[path.removesuffix(file.name)] = found[path]
    return found


class Pages(asyncio.Protocol):
    """One connection."""

    def __init__(self, known: dict[str, bytes], asked: list[str]) -> None:
        self._known, self._asked = known, asked
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclass

    def data_received(self, data: bytes) -> None:
        """Answer all whole requests."""
        assert self._transport is not None
        *heads, self._unread = (self._unread + data).split(_END)
        for head in heads:
            path = head.split(b" ", 2)[1].decode("latin-1")
            self._asked.append(path)
            self._transport.write(self._known.get(unquote(path.partition("?")[0]), _MISSING))


async def serve(folder: Path) -> None:
    """Until standard input ends."""
    asked: list[str] = []
    known, loop = answers(folder), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Pages(known, asked), HOST, 0)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}/", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line.strip() == "asked":
            said, asked[:] = to_json(asked), []
            print(said.decode(), flush=True)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
