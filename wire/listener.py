"""Listening sockets that a burst of connections cannot overload.

An event loop by itself accepts all waiting connections, thousands at a time, before it serves any; clients that are
already connected then wait behind the burst. This listener accepts a bounded number per turn of the loop, and pauses
when descriptors or memory run out. The rest of the burst waits in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)

ACCEPTS_A_TURN = 64
"""Connections accepted before the loop serves others; each costs about 50 µs."""

PAUSE_S = 1.0
"""Pause after the system had no descriptor or memory left. New connections stay in the kernel's queue."""

TICK_S = 0.1
"""Pause while `may_accept` allows no connection."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def bind(host: str, port: int, backlog: int, *, shared: bool = False, quiet_acks: bool = False) -> list[socket.socket]:
    """Listening sockets on every address of `host`, all on one port. Raises OSError with the reason.

    `host` may be several hosts separated by commas; empty means every address of the machine. Port 0 picks a free one.
    `shared`: other processes may listen on the port too, and the kernel distributes connections by a hash of both
    addresses. `quiet_acks`: the kernel acknowledges a client's data together with the answer. That saves a packet
    when a request comes in one piece; when it does not, the reader must acknowledge it (`transport.acknowledge` in the
    gateway).
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in resolve(host, port):
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_listen(family, (address, chosen), backlog, shared, quiet_acks))
    except OSError as problem:
        for opened in sockets:
            opened.close()
        raise OSError(problem.errno, f"cannot listen on {host}:{port}: {problem.strerror}") from problem
    return sockets


def resolve(hosts: str, port: int) -> list[tuple[int, str]]:
    """Family and address of every host, each once, in order. Raises OSError for a name that does not resolve."""
    found = {}
    for host in hosts.split(","):
        try:
            names = socket.getaddrinfo(host.strip() or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except UnicodeError:
            raise OSError(errno.EINVAL, "this is no host name") from None
        for family, _, _, _, address in names:
            found[int(family), str(address[0])] = True
    return list(found)


def _listen(family: int, address: tuple[str, int], backlog: int, shared: bool, quiet_acks: bool) -> socket.socket:
    listening = socket.create_server(address, family=family, backlog=backlog, reuse_port=shared)
    listening.setblocking(False)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it, and the next one
    if quiet_acks:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    return listening


class Listener:
    """Calls `on_accept` with the descriptor and the peer's address of each accepted connection.

    `has_room` tells whether there is capacity for another connection, `may_accept` whether the rate allows one now.
    `on_pause` is called for each pause.
    """

    def __init__(
        self,
        on_accept: Callable[[int, str], None],
        has_room: Callable[[], bool] = lambda: True,
        may_accept: Callable[[], bool] = lambda: True,
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_accept = on_accept
        self._has_room = has_room
        self._may_accept = may_accept
        self._sockets: dict[int, socket.socket] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._on_pause = on_pause
        self.port = 0
        """The port it listens on; like `addresses`, it stays known after `stop`."""
        self.addresses: list[str] = []
        """``host:port`` of each socket."""

    def start(self, loop: asyncio.AbstractEventLoop, sockets: list[socket.socket]) -> None:
        self._loop = loop
        self._sockets = {listening.fileno(): listening for listening in sockets}
        names = [listening.getsockname()[:2] for listening in sockets]
        self.port = names[0][1]
        self.addresses = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in names]
        self._resume()

    def stop(self) -> None:
        """Close the listening sockets; the kernel resets connections in their queues. Fine to call twice."""
        self._unwatch()
        for listening in self._sockets.values():
            listening.close()
        self._sockets = {}

    def _resume(self) -> None:
        assert self._loop is not None
        self._resuming = None
        for fd, listening in self._sockets.items():
            self._loop.add_reader(fd, self._accept, listening)

    def _unwatch(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        for fd in self._sockets:
            assert self._loop is not None
            self._loop.remove_reader(fd)

    def _pause(self, why: str) -> None:
        self._on_pause()
        log.warning("accepting paused", extra={"action": "accept_paused", "reason": why, "pause_s": PAUSE_S})
        self._rest(PAUSE_S)

    def _rest(self, seconds: float) -> None:
        assert self._loop is not None
        self._unwatch()
        self._resuming = self._loop.call_later(seconds, self._resume)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if not self._has_room():
                self._pause("no room")
                return
            if not self._may_accept():
                self._rest(TICK_S)
                return
            try:
                # `_accept` makes no socket object of the descriptor, which saves 5 of 80 µs
                fd, address = listening._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in _OUT_OF_RESOURCES:
                    self._pause(problem.strerror or "out of resources")
                    return
                continue  # the client closed the connection before it was accepted
            os.set_blocking(fd, False)
            self._on_accept(fd, address[0])
