"""Very many silent clients in one process: ``python -m bench.crowd PORT``, commanded by lines on standard input.

``open N``   open N more WebSocket connections, each from an address of its own; answers ``opened TOTAL SECONDS``
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

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PONG = b"\x8a\x80\x00\x00\x00\x00"
CLOSE = b"\x88\x82\x00\x00\x00\x00\x03\xe8"


def address(index: int) -> str:
    """The loopback address of the client with this number: 16 million different ones."""
    return f"127.{1 + (index >> 16) % 254}.{index >> 8 & 255}.{index & 255}"


class Crowd:
    """The connections, by descriptor."""

    def __init__(self, port: int, first: int) -> None:
        self._target = ("127.0.0.1", port)
        self._next = first
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._opening: dict[int, bytes] = {}
        self._is_closing = False
        self.pings = self.lost = 0

    def open(self, count: int) -> float:
        """Open `count` more; the seconds it took. Raises TimeoutError when that stalls."""
        since = progress = time.monotonic()
        goal = len(self._sockets) + count
        while len(self._sockets) < goal or self._opening:
            while len(self._opening) < BATCH_COUNT and len(self._sockets) < goal:
                self._begin()
            before = len(self._opening)
            self.serve(0.1)
            now = time.monotonic()
            progress = now if len(self._opening) < before else progress
            if now - progress > PATIENCE_S:
                raise TimeoutError(f"{len(self._opening)} connections do not open")
        return time.monotonic() - since

    def _begin(self) -> None:
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        raw.bind((address(self._next), 0))
        self._next += 1
        if raw.connect_ex(self._target) not in (0, errno.EINPROGRESS):
            raise ConnectionError("the gateway does not listen")
        self._sockets[raw.fileno()] = raw
        self._opening[raw.fileno()] = b""
        self._epoll.register(raw.fileno(), select.EPOLLOUT)

    def serve(self, seconds: float) -> None:
        """Handle what comes within this time."""
        for fd, events in self._epoll.poll(seconds, 1000):
            if fd not in self._sockets:
                continue
            if events & select.EPOLLOUT:
                self._sockets[fd].send(REQUEST)
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
            head, end, rest = (self._opening[fd] + data).partition(b"\r\n\r\n")
            if not end:
                self._opening[fd] = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(head.decode(errors="replace"))
            del self._opening[fd]
            if rest:  # a first ping may share the read
                self._hear_frame(fd, rest)
        else:
            self._hear_frame(fd, data)

    def _hear_frame(self, fd: int, frame: bytes) -> None:
        if frame[0] == 0x89:
            os.write(fd, PONG)
            self.pings += 1
        elif frame[0] == 0x88:
            os.write(fd, CLOSE)

    def _drop(self, fd: int) -> None:
        if not self._is_closing:
            self.lost += 1
            what = self._opening.get(fd, b"open")
            print("lost", self._sockets[fd].getsockname(), what, file=sys.stderr)
        self._opening.pop(fd, None)
        self._sockets.pop(fd).close()

    def close(self) -> None:
        """Say goodbye on every connection, and wait until the gateway has closed each."""
        self._is_closing = True
        for raw in self._sockets.values():
            raw.send(CLOSE)
        until = time.monotonic() + PATIENCE_S
        while self._sockets and time.monotonic() < until:
            self.serve(0.1)

    def __len__(self) -> int:
        return len(self._sockets)


def main() -> None:
    """Obey lines until standard input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    commands = select.poll()
    commands.register(0, select.POLLIN)
    while True:
        crowd.serve(0.05)
        if not commands.poll(0):
            continue
        words = sys.stdin.readline().split()
        if not words:
            return
        if words[0] == "open":
            seconds = crowd.open(int(words[1]))
            print("opened", len(crowd), f"{seconds:.3f}", flush=True)
        elif words[0] == "stats":
            print("held", len(crowd), "pings", crowd.pings, "lost", crowd.lost, flush=True)
        elif words[0] == "close":
            crowd.close()
            print("closed", flush=True)


if __name__ == "__main__":
    main()
