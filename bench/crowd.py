"""Very many silent clients in one process: ``python -m bench.crowd PORT FIRST [hello]``.

It is commanded by lines on standard input. FIRST is the number of the first client's address; with ``hello`` clients
speak the job protocol, and count as open when they have been welcomed.

``open N``   open N more WebSocket connections, each from an address of its own; answers ``opened TOTAL SECONDS``
``churn N``  open and close N connections, 100 at a time; answers ``churned N SECONDS``
``stats``    answers ``held TOTAL pings COUNT lost COUNT``
``close``    close all; answers ``closed``

It uses bare sockets and one epoll set, so that the load is light: no parser, no object of its own for a connection
but the socket. Pings are answered, all other input is thrown away.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import sys
import time

BATCH_COUNT = 100
"""Connections that are being opened at one time: below any listener's backlog."""

PATIENCE_S = 60.0
SAID_COUNT = 3
"""Losses that are told one by one; all are counted."""

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
JOB_REQUEST = REQUEST[:-2] + b"Sec-WebSocket-Protocol: roost.v1\r\n\r\n"
_NO_KEY = bytes(4)
_HELLO = b'{"type":"hello","epoch":1}'
HELLO = bytes((0x81, 0x80 | len(_HELLO))) + _NO_KEY + _HELLO
PONG = b"\x8a\x80" + _NO_KEY
CLOSE = b"\x88\x82" + _NO_KEY + b"\x03\xe8"


def address(index: int) -> str:
    """The loopback address of the client with this number: 16 million different ones."""
    return f"127.{1 + (index >> 16) % 254}.{index >> 8 & 255}.{index & 255}"


def frame_kinds(data: bytes) -> list[int]:
    """The first byte of each frame of a server (unmasked, under 64 KiB) in `data`."""
    kinds, at = [], 0
    while at + 2 <= len(data):
        kinds.append(data[at])
        length, at = data[at + 1], at + 2
        if length == 126:
            length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        at += length
    return kinds


class Crowd:
    """The connections, by descriptor."""

    def __init__(self, port: int, first: int, *, hello: bool = False) -> None:
        self._target = ("127.0.0.1", port)
        self._next = first
        self._hello = hello
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._opening: dict[int, bytes] = {}
        """What has come of the answer."""
        self._greeting: set[int] = set()
        """Those that have said hello."""
        self._is_closing = False
        self.pings = self.lost = 0

    def open(self, count: int) -> None:
        """Open `count` more. Raises TimeoutError when that stalls."""
        progress = time.monotonic()
        goal = len(self._sockets) + count
        while len(self._sockets) < goal or self._opening or self._greeting:
            while len(self._opening) + len(self._greeting) < BATCH_COUNT and len(self._sockets) < goal:
                self._begin()
            before = len(self._opening), len(self._greeting)
            self.serve(0.1)
            now = time.monotonic()
            progress = now if (len(self._opening), len(self._greeting)) != before else progress
            if now - progress > PATIENCE_S:
                raise TimeoutError(f"{len(self._opening) + len(self._greeting)} connections do not open")

    def _begin(self) -> None:
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        raw.bind((address(self._next), 0))
        self._next += 1
        if raw.connect_ex(self._target) not in (0, errno.EINPROGRESS):
            raise ConnectionError("the server does not listen")
        self._sockets[raw.fileno()] = raw
        self._opening[raw.fileno()] = b""
        self._epoll.register(raw.fileno(), select.EPOLLOUT)

    def serve(self, seconds: float) -> None:
        """Handle what comes within this time."""
        for fd, events in self._epoll.poll(seconds, 1000):
            if fd not in self._sockets:
                continue
            if events & select.EPOLLOUT:
                self._sockets[fd].send(JOB_REQUEST if self._hello else REQUEST)
                self._epoll.modify(fd, select.EPOLLIN)
            else:
                self._hear(fd)

    def _hear(self, fd: int) -> None:
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        if not data:
            self._drop(fd)
        elif fd in self._opening:
            self._hear_answer(fd, self._opening[fd] + data)
        else:
            self._hear_frames(fd, data)

    def _hear_answer(self, fd: int, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self._opening[fd] = head
            return
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.decode(errors="replace"))
        del self._opening[fd]
        if self._hello:
            self._greeting.add(fd)
            os.write(fd, HELLO)
        self._hear_frames(fd, rest)

    def _hear_frames(self, fd: int, data: bytes) -> None:
        """Whole frames, of which several may share a read: a ping comes when it comes."""
        for kind in frame_kinds(data):
            if kind == 0x89:
                os.write(fd, PONG)
                self.pings += 1
            elif kind == 0x81:
                self._greeting.discard(fd)
            elif kind == 0x88 and not self._is_closing:
                os.write(fd, CLOSE)

    def _drop(self, fd: int) -> None:
        if not self._is_closing:
            self.lost += 1
            if self.lost <= SAID_COUNT:
                what = self._opening.get(fd, b"open")
                print("lost", self._sockets[fd].getsockname(), what, file=sys.stderr)
        self._opening.pop(fd, None)
        self._greeting.discard(fd)
        self._sockets.pop(fd).close()

    def close(self) -> None:
        """Say goodbye on every connection, and wait until the server has closed each. Raises TimeoutError."""
        self._is_closing = True
        for raw in self._sockets.values():
            raw.send(CLOSE)
        until = time.monotonic() + PATIENCE_S
        while self._sockets:
            self.serve(0.1)
            if time.monotonic() > until:
                raise TimeoutError(f"{len(self._sockets)} connections do not close")
        self._is_closing = False

    def churn(self, count: int) -> None:
        """Open and close so many connections."""
        for begun in range(0, count, BATCH_COUNT):
            self.open(min(BATCH_COUNT, count - begun))
            self.close()

    def __len__(self) -> int:
        return len(self._sockets)


def obey(crowd: Crowd, words: list[str]) -> str:
    """The answer to one command."""
    since = time.monotonic()
    if words[0] == "open":
        crowd.open(int(words[1]))
        return f"opened {len(crowd)} {time.monotonic() - since:.3f}"
    if words[0] == "churn":
        crowd.churn(int(words[1]))
        return f"churned {words[1]} {time.monotonic() - since:.3f}"
    if words[0] == "close":
        crowd.close()
        return "closed"
    return f"held {len(crowd)} pings {crowd.pings} lost {crowd.lost}"


def main() -> None:
    """Obey lines until standard input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(int(sys.argv[1]), int(sys.argv[2]), hello="hello" in sys.argv[3:])
    commands = select.poll()
    commands.register(0, select.POLLIN)
    while True:
        crowd.serve(0.05)
        if not commands.poll(0):
            continue
        words = sys.stdin.readline().split()
        if not words:
            return
        print(obey(crowd, words), flush=True)


if __name__ == "__main__":
    main()
