"""How connections come in: a few at a time, however many wait, and none stays that says nothing.

aiohttp serves what comes; this decides when it comes. Beats arrive on connections that are open already, and must be
heard while a crowd knocks: with all of a crowd accepted at once, each beat would wait behind thousands of questions,
three would be missed, and gateways that are well would be forgotten for the crowd that wants to go there. So there are
at most `MAX_SILENT` connections at a time whose first request has not come yet; those that let others wait for more
than `SILENT_S` are closed.
"""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from roost.wire.clock import Clock
from roost.wire.listener import Listener, bind

HEAD_S = 10.0
"""For a connection's first request to be there: ten times a slow mobile round trip."""

MAX_SILENT = 1024
"""Questions that may come all in one moment; they take about 0.1 s."""

SILENT_S = 1.0
"""While others wait; a round trip and some."""

SWEEP_S = 1.0


class ConnectionLimiter:
    """Listens for an aiohttp server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listener = Listener(self._let_in, may_accept=self._may_let_in)
        self._serve: web.Server | None = None
        self._silent: dict[asyncio.BaseTransport, float] = {}
        """Connections that have asked for nothing so far, and since when; the oldest first."""
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self, serve: web.Server, host: str, port: int, backlog: int) -> int:
        """Let connections in; the port. Raises OSError when it cannot listen."""
        loop = asyncio.get_running_loop()
        self._serve = serve
        self._listener.start(loop, bind(host, port, backlog))
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        return self._listener.port

    def stop(self) -> None:
        """Let nobody in any more; those inside stay. Fine to call twice, or without start."""
        self._listener.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()

    @property
    def stay(self) -> Middleware:
        """What must hear of every request, so that its connection may stay."""

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
        except OSError:  # it was gone before it was let in
            raw.close()
            return
        self._silent[transport] = self._clock.monotonic()

    def _sweep(self) -> None:
        self._close_silent(HEAD_S)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _close_silent(self, patience_s: float) -> None:
        """Close what has said nothing for too long, and forget what is gone."""
        since_s = self._clock.monotonic() - patience_s
        for transport in [t for t, since in self._silent.items() if since <= since_s or t.is_closing()]:
            del self._silent[transport]
            transport.close()
