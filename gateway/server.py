"""The gateway server: connects all components, with the lifecycle of a Service (`roost.wire.service`)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator

from roost.discovery.registrar import ComponentStatus, new_incarnation
from roost.gateway.admission.handshake_handler import MAX_OVER_LIMIT, HandshakeHandler
from roost.gateway.admission.jwt import JwtVerifier
from roost.gateway.admission.tickets import TicketVerifier
from roost.gateway.api import Application, Frame, Message, Peer
from roost.gateway.connections.columns import Cells
from roost.gateway.connections.counters import Counters
from roost.gateway.connections.rate import Rate
from roost.gateway.connections.slots import OPEN
from roost.gateway.deadlines import Deadlines
from roost.gateway.io.broadcast import Broadcast
from roost.gateway.io.poller import Poller
from roost.gateway.io.reader import FrameReader
from roost.gateway.io.ticker import Ticker
from roost.gateway.io.tls import Tls
from roost.gateway.io.transport import Plain
from roost.gateway.io.writer import ConnectionWriter
from roost.gateway.moving.directives import DirectiveHandler
from roost.gateway.moving.drain import send_away
from roost.gateway.moving.endpoints import EndpointPool, ReserveEndpoints, nowhere
from roost.gateway.process.memory import CONNECTION_BYTES, TLS_BYTES, spare_bytes
from roost.gateway.settings import Settings, capacity
from roost.gateway.websocket import frames
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.codes import GOING_AWAY
from roost.wire.errors import Misuse
from roost.wire.listener import Listener, bind
from roost.wire.messages.moving import GatewayDirectives
from roost.wire.tokens import Keyring

log = logging.getLogger(__name__)


class Server:
    """Holds connections for one application. Implements `api.Gateway` and `roost.wire.service.Service`.

    With a `keyring`, tickets are verified; with `require_ticket`, clients without a ticket are refused; with `bearer`,
    every client needs a JSON Web Token. `reserve_endpoints` reserves endpoints at other gateways, to which clients are
    moved when this one drains. `sockets` are existing listening sockets; without them `start` creates them from the
    settings.
    """

    def __init__(
        self,
        app: Application,
        settings: Settings,
        *,
        clock: Clock = SYSTEM_CLOCK,
        incarnation: str = "",
        keyring: Keyring | None = None,
        require_ticket: bool = False,
        bearer: JwtVerifier | None = None,
        reserve_endpoints: ReserveEndpoints = nowhere,
        sockets: list[socket.socket] | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.incarnation = incarnation or new_incarnation()
        self.counters = Counters()
        self.capacity = capacity(settings.max_connections)
        self._app = app
        self._sockets = sockets
        self._poller = Poller()
        self._tls = Tls(settings.tls_cert, settings.tls_key) if settings.tls_cert else None
        self.writer = ConnectionWriter(app, settings, self._tls or Plain(), self._poller, self.counters)
        self._reader = FrameReader(self.writer, settings)
        self._tickets = TicketVerifier(keyring, self.incarnation, clock, required=require_ticket)
        self._handshakes = HandshakeHandler(self.writer, settings, self._tickets, bearer, self._reader.receive)
        self._reader.read_handshake = self._handshakes.on_readable
        self._endpoints = EndpointPool(self.writer, reserve_endpoints)
        self._directives = DirectiveHandler(self.writer, self._handshakes, self._endpoints, clock)
        self.ticker = Ticker(clock, Deadlines(self.writer, self._handshakes, settings).turn)
        self._accepts = Rate(settings.max_accepts_per_s, burst_s=1)
        self._listener = Listener(self._on_accept, self._has_room, self._may_accept, self.counters.pause)
        self._broadcast = Broadcast(self.writer)
        self._loop: asyncio.AbstractEventLoop | None = None

    # Lifecycle (`roost.wire.service.Service`).

    async def start(self) -> None:
        """Listen and serve. Raises OSError when it cannot listen."""
        loop = self._loop = asyncio.get_running_loop()
        self.writer.start(loop)
        self._app.start(self)
        settings = self.settings
        sockets = self._sockets or bind(
            settings.host, settings.port, settings.backlog, shared=settings.shared_port, quiet_acks=True
        )
        self._broadcast.start(loop)
        self._poller.start(loop, self._reader.serve)
        self.ticker.start(loop)
        self._listener.start(loop, sockets)

    async def drain(self) -> None:
        """Stop accepting, and move or close all clients, spread over the drain window."""
        await self._directives.stop()
        self._handshakes.accepting = False
        self._listener.stop()
        await send_away(self.writer, self._endpoints, self.settings.drain_s, self.clock)

    async def stop(self) -> None:
        """Close all connections at once; `on_close` is called for each. May be called twice."""
        if self._loop is None:
            return
        await self._directives.stop()
        self._listener.stop()
        for peer in self.peers():
            peer.close(GOING_AWAY)
        for fd in range(len(self.writer.slots)):
            self.writer.abort(fd)
        while self.writer.slots.used:
            self.writer.settle()
        self.ticker.stop()
        self._poller.stop()
        self._loop = None
        self._app.stop()

    # Interface for applications (`api.Gateway`).

    @property
    def connections(self) -> int:
        return self.writer.slots.used

    def peer(self, fd: int, generation: int) -> Peer:
        return Peer(self.writer, fd, generation)

    def peers(self) -> Iterator[Peer]:
        slots = self.writer.slots
        for fd in range(len(slots)):
            if slots.state[fd] == OPEN:
                yield Peer(self.writer, fd, slots.generation[fd])

    def cells(self, width_bytes: int) -> Cells:
        cells = Cells(width_bytes)
        self.writer.on_trim.append(cells.trim)
        return cells

    def encode(self, message: Message) -> Frame:
        return Frame(message, frames.encode(message))

    def broadcast(self, frame: Frame, peers: Iterable[Peer]) -> None:
        self._broadcast.add(frame, peers)

    # Interface for the process.

    @property
    def port(self) -> int:
        """The port that the server listens on; valid after `start`."""
        return self._listener.port

    @property
    def addresses(self) -> list[str]:
        """The addresses that the server listens on, as ``host:port``."""
        return self._listener.addresses

    @property
    def url(self) -> str:
        """The URL for clients on this machine."""
        return f"{'wss' if self._tls else 'ws'}://{self.addresses[0]}"

    def reload(self) -> None:
        """Read the TLS certificate again, if TLS is used. An invalid one is logged, and the old one stays in use."""
        if self._tls is None:
            return
        try:
            self._tls.reload()
            log.info("certificate reloaded", extra={"action": "certificate_reloaded"})
        except Misuse as problem:
            log.error("certificate not reloaded", extra={"action": "certificate_bad", "reason": str(problem)})

    def room(self) -> int:
        """Return how many connections can be held now: the capacity, or less if memory is short."""
        each = CONNECTION_BYTES + (TLS_BYTES if self._tls else 0)
        return min(self.capacity, self.writer.slots.used + spare_bytes() // each)

    def follow(self, directives: GatewayDirectives) -> None:
        """Carry out directives of discovery."""
        if self._loop is not None:
            self._directives.follow(directives)

    def vitals(self) -> ComponentStatus:
        """Return a snapshot of the status for discovery (P31)."""
        return ComponentStatus(
            capacity=self.room(),
            load=self.writer.slots.used,
            lag_ms=self.ticker.lag_ms,
            redeemed=self._tickets.take_redeemed(),
            counters={
                "messages_in": self.counters.messages_in,
                "messages_out": self.counters.messages_out,
                "accepted": self.counters.accepted,
                "moves": self.counters.moves,
            },
            moving=self._directives.moving_count(),
        )

    # Callbacks of the listener.

    def _on_accept(self, fd: int, address: str) -> None:
        self._accepts.takes(0, self.writer.wheel.now)
        self._handshakes.begin(fd, address, is_full=self.writer.slots.used >= self.capacity)

    def _has_room(self) -> bool:
        return self.writer.slots.used < self.capacity + MAX_OVER_LIMIT

    def _may_accept(self) -> bool:
        return self._accepts.would_take(0, self.writer.wheel.now)
