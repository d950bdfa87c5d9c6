"""A gateway without an event loop: the test decides when it reads, and so what each read returns."""

from __future__ import annotations

import os
import socket

from roost.gateway.admission.handshake_handler import HandshakeHandler
from roost.gateway.admission.tickets import TicketVerifier
from roost.gateway.api import Application
from roost.gateway.connections.counters import Counters
from roost.gateway.connections.slots import FREE
from roost.gateway.io.poller import READ, Poller
from roost.gateway.io.reader import FrameReader
from roost.gateway.io.transport import Plain, Transport
from roost.gateway.io.writer import ConnectionWriter
from roost.gateway.settings import Settings
from roost.wire.clock import SYSTEM_CLOCK


class Lone:
    """Serves one end of socket pairs with the production code for clients."""

    def __init__(self, app: Application, settings: Settings, transport: Transport | None = None) -> None:
        self.counters = Counters()
        self.writer = ConnectionWriter(app, settings, transport or Plain(), Poller(), self.counters)
        self._reader = FrameReader(self.writer, settings)
        tickets = TicketVerifier(None, "lone", SYSTEM_CLOCK, required=False)
        self._handshakes = HandshakeHandler(self.writer, settings, tickets, None, self._reader.receive)
        self._reader.read_handshake = self._handshakes.on_readable

    def connect(self) -> tuple[int, socket.socket]:
        """Open a connection; return its descriptor in the gateway and the client's socket, which the caller closes."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        fd = ours.detach()
        self._handshakes.begin(fd, "192.0.2.1", is_full=False)
        return fd, theirs

    def read(self, fd: int) -> None:
        """Read and handle what the client has written; answers go to the socket's buffer."""
        self._reader.serve([(fd, READ)])
        self.writer.settle()

    def throw(self, pieces: list[bytes]) -> bytes:
        """Connect, write these pieces (each is one read), and disconnect; return what the client received.

        Checks that no state of the connection remains.
        """
        fd, theirs = self.connect()
        state = self.writer.slots.state
        theirs.setblocking(False)
        heard = b""
        with theirs:
            for piece in pieces:
                os.write(theirs.fileno(), piece)
                self.read(fd)
                heard += _waiting(theirs)
                if state[fd] == FREE:
                    break
        if state[fd] != FREE:
            self.read(fd)  # the end of the stream, or unread input
            self.writer.abort(fd)
            self.writer.settle()
        assert state[fd] == FREE
        assert (self.writer.slots.used, self.counters.open_now) == (0, 0)
        assert not self.writer.outboxes
        assert not self.writer.parsers
        assert not self.counters.application_errors
        return heard


def _waiting(raw: socket.socket) -> bytes:
    """Return what can be read now."""
    try:
        return raw.recv(1 << 20)
    except (BlockingIOError, ConnectionResetError):
        return b""
