"""Very many silent clients in one process: ``python -m bench.support.clients.idle_clients PORT FIRST [hello] [tls]``.

It is commanded by lines on standard input. FIRST is the number of the first client's address; with ``hello`` clients
speak the job protocol, and count as open when they have been welcomed; with ``tls`` they connect over TLS, and trust
any certificate.

``open N``   open N more WebSocket connections, each from an address of its own; answers ``opened TOTAL SECONDS``
``churn N``  open and close N connections, 100 at a time; answers ``churned N SECONDS``
``stats``    answers ``held TOTAL pings COUNT lost COUNT``
``close``    close all; answers ``closed``
``close_stats`` answers how the server has ended connections so far, as JSON (`bench.support.clients.close_stats`)

It uses bare sockets and one epoll set, so that the load is light: no parser, no object of its own for a connection
but the socket. Pings and close frames are answered, all other input is thrown away.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import time

from bench.support.clients.client_bytes import (
    CLOSE,
    CLOSE_KIND,
    HELLO,
    JOB_REQUEST,
    PING_KIND,
    PONG,
    TEXT_KIND,
    address,
    call,
    frames,
    trusting,
)
from bench.support.clients.client_bytes import REQUEST as REQUEST  # for bench.support.clients.echo_load, too
from bench.support.clients.close_stats import CloseStats
from bench.support.clients.commanded import run

BATCH_COUNT = 100
"""Connections that are being opened at one time: below any listener's backlog."""

PATIENCE_S = 60.0
READ_BYTES = 16 * 1024
"""The size of a TLS record: with smaller reads, part of one could remain in the TLS layer, where epoll does not see
it.
"""

SAID_COUNT = 3
"""Losses that are told one by one; all are counted."""


class IdleClients:
    """The connections, by descriptor."""

    def __init__(self, port: int, first: int, *, hello: bool = False, tls: bool = False) -> None:
        self._port = port
        self._next = first
        self._hello = hello
        self._tls = trusting() if tls else None
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._shaking: dict[int, ssl.SSLSocket] = {}
        """Connections in their TLS handshake."""
        self._opening: dict[int, bytes] = {}
        """The bytes of the upgrade answer so far."""
        self._greeting: set[int] = set()
        """Connections that have sent hello and wait for welcome."""
        self._dismissed: set[int] = set()
        """Connections that received a close frame from the server."""
        self._is_closing = False
        self.pings = self.lost = 0
        self.close_stats = CloseStats()

    def open(self, count: int) -> None:
        """Open `count` more connections. Raises TimeoutError when no progress is made."""
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
        raw = call(self._port, address(self._next))
        self._next += 1
        self._sockets[raw.fileno()] = raw
        self._opening[raw.fileno()] = b""
        self._epoll.register(raw.fileno(), select.EPOLLOUT)

    def serve(self, seconds: float) -> None:
        """Handle input for this time."""
        for fd, events in self._epoll.poll(seconds, 1000):
            if fd not in self._sockets:
                continue
            if events & select.EPOLLOUT:
                self._epoll.modify(fd, select.EPOLLIN)
                self._speak(fd)
            elif fd in self._shaking:
                self._shake(fd)
            else:
                self._hear(fd)

    def _speak(self, fd: int) -> None:
        """It is connected."""
        if self._tls is None:
            self._request(fd)
            return
        self._shaking[fd] = self._sockets[fd] = self._tls.wrap_socket(self._sockets[fd], do_handshake_on_connect=False)
        self._shake(fd)

    def _shake(self, fd: int) -> None:
        try:
            self._shaking[fd].do_handshake()
        except ssl.SSLWantReadError:
            return
        except OSError:
            self._drop(fd, is_reset=True)
            return
        del self._shaking[fd]
        self._request(fd)

    def _request(self, fd: int) -> None:
        self._send(fd, JOB_REQUEST if self._hello else REQUEST)

    def _send(self, fd: int, data: bytes) -> None:
        """Little enough for any socket; one that was reset takes none, and is lost."""
        try:
            self._sockets[fd].send(data)
        except OSError:
            self._drop(fd, is_reset=True)

    def _hear(self, fd: int) -> None:
        try:
            data = self._sockets[fd].recv(READ_BYTES)
        except ssl.SSLWantReadError:  # a record that is not all there, or one for TLS itself
            return
        except OSError:
            self._drop(fd, is_reset=True)
            return
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
            self._send(fd, HELLO)
        self._hear_frames(fd, rest)

    def _hear_frames(self, fd: int, data: bytes) -> None:
        """Handle whole frames, of which one read may return several."""
        for kind, payload in frames(data):
            if fd not in self._sockets:
                return
            if kind == PING_KIND:
                self.pings += 1
                self._send(fd, PONG)
            elif kind == TEXT_KIND:
                self._greeting.discard(fd)
            elif kind == CLOSE_KIND and not self._is_closing:
                self.close_stats.hear(payload, time.monotonic())
                self._dismissed.add(fd)
                self._send(fd, CLOSE)

    def _drop(self, fd: int, *, is_reset: bool = False) -> None:
        if not self._is_closing:
            self._lose(fd, is_reset)
        self._shaking.pop(fd, None)
        self._opening.pop(fd, None)
        self._greeting.discard(fd)
        self._dismissed.discard(fd)
        self._sockets.pop(fd).close()

    def _lose(self, fd: int, is_reset: bool) -> None:
        self.lost += 1
        self.close_stats.resets += is_reset
        if fd in self._dismissed:
            return
        self.close_stats.silent += 1
        if self.close_stats.silent <= SAID_COUNT:
            what = self._opening.get(fd, b"open")
            print("lost", self._sockets[fd].getsockname(), what, file=sys.stderr)

    def close(self) -> None:
        """Send a close frame on every connection, and wait until the server has closed each. Raises TimeoutError."""
        self._is_closing = True
        for fd in list(self._sockets):
            self._send(fd, CLOSE)
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


def obey(clients: IdleClients, words: list[str]) -> str:
    """Return the answer to one command."""
    since = time.monotonic()
    if words[0] == "open":
        clients.open(int(words[1]))
        return f"opened {len(clients)} {time.monotonic() - since:.3f}"
    if words[0] == "churn":
        clients.churn(int(words[1]))
        return f"churned {words[1]} {time.monotonic() - since:.3f}"
    if words[0] == "close":
        clients.close()
        return "closed"
    if words[0] == "close_stats":
        return clients.close_stats.as_json()
    return f"held {len(clients)} pings {clients.pings} lost {clients.lost}"


if __name__ == "__main__":
    everyone = IdleClients(int(sys.argv[1]), int(sys.argv[2]), hello="hello" in sys.argv[3:], tls="tls" in sys.argv[3:])
    run(everyone.serve, lambda words: obey(everyone, words))
