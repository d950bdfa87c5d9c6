"""Accepts connections for an aiohttp server a few at a time, and closes those that send no request.

Heartbeats arrive on connections that are open already, and must be read while very many clients connect. If all new
connections were accepted at once, each heartbeat would wait behind thousands of requests; after three missed
heartbeats, healthy gateways would be forgotten because of the clients that want to reach them. Therefore at most
`MAX_SILENT` connections at a time may have sent no request yet. While others wait, those that have sent nothing for
more than `SILENT_S` are closed.
"""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from roost.wire.clock import Clock
from roost.wire.listener import Listener, bind

HEAD_S = 10.0
"""Longest time until a connection's first request: ten times a slow mobile round trip."""

MAX_SILENT = 1024
"""Most connections without a request. If all of them send theirs at one moment, serving them takes about 0.1 s."""

SILENT_S = 1.0
"""Longest time until a connection's first request while others wait: a little more than a round trip."""

SWEEP_S = 1.0


class ConnectionLimiter:
    """Listens for an aiohttp server and limits how many connections have sent no request yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listener = Listener(self._let_in, may_accept=self._may_let_in)
        self._serve: web.Server | None = None
        self._silent: dict[asyncio.BaseTransport, float] = {}
        """Connections that have sent no request, with the time of their acceptance; the oldest first."""
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self, serve: web.Server, host: str, port: int, backlog: int) -> int:
        """Start accepting connections and return the port. Raises OSError when it cannot listen."""
        loop = asyncio.get_running_loop()
        self._serve = serve
        self._listener.start(loop, bind(host, port, backlog))
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        return self._listener.port

    def stop(self) -> None:
        """Accept no more connections; open ones stay open. Fine to call twice, or without start."""
        self._listener.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()

    @property
    def stay(self) -> Middleware:
        """The middleware that marks a connection as used when a request arrives. The server must install it."""

        @web.middleware
        async def stay(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.transport is not None:
                self._silent.pop(request.transport, None)
            return await handler(request)

        return stay

    def _may_let_in(self) -> bool:
        if len(self._silent) + len(self._opening) >= MAX_SILENT:
            self._close_silent(SILENT_S)
        return len(self._silent) + len(self._opening) < MAX_SILENT

    def _let_in(self, fd: int, address: str) -> None:
        task = asyncio.get_running_loop().create_task(self._open(socket.socket(fileno=fd)))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, raw: socket.socket) -> None:
        assert self._serve is not None
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(self._serve, raw)
        except OSError:  # the client closed it before it was accepted
            raw.close()
            return
        self._silent[transport] = self._clock.monotonic()

    def _sweep(self) -> None:
        self._close_silent(HEAD_S)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _close_silent(self, timeout_s: float) -> None:
        """Close connections that have sent nothing for this long, and forget those that are closing."""
        since_s = self._clock.monotonic() - timeout_s
        for transport in [t for t, since in self._silent.items() if since <= since_s or t.is_closing()]:
            del self._silent[transport]
            transport.close()
