"""Gateways without sockets: the real job protocol over connections that keep their order, until they break."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from roost.backend.client_protocol.application import ClientProtocol
from roost.gateway.api import Frame, Message, Peer, Request
from roost.gateway.connections.columns import Cells
from roost.wire.codes import Close
from roost.wire.messages.client import FromGateway, Part, Result, read_from_gateway
from tests.simulation.network import Weather
from tests.simulation.nodes import Node

LOST = 1006
STEP_S = 1e-6
"""Between two messages of a connection: a loop's timers of the same time come in any order."""


class Line:
    """One connection: a client's end, and the gateway's. What is under way when it breaks is lost."""

    def __init__(self, door: Door, fd: int, hear: Callable[[FromGateway], None], on_end: Callable[[int], None]) -> None:
        self._door, self._fd, self._hear, self._on_end = door, fd, hear, on_end
        self._is_up = True
        self._last = {"in": 0.0, "out": 0.0}
        self.results: Counter[str] = Counter()
        """Results that the gateway sent on this connection, by request (I3)."""

    def say(self, text: str) -> None:
        """From the client."""
        self._carry("in", lambda: self._door.on_message(self._fd, self, text))

    def tell(self, text: str) -> None:
        """From the gateway."""
        message = read_from_gateway(text)
        if isinstance(message, Result):
            self.results[message.id] += 1
        assert not (isinstance(message, Part) and self.results[message.id]), "parts after their result"
        self._carry("out", lambda: self._hear(message))

    def end(self, code: int = LOST, noticed_after_s: float = 0.0) -> None:
        """It breaks, or the gateway closes it: the client knows at once, the gateway when it looks."""
        if not self._is_up:
            return
        self._is_up = False
        loop = asyncio.get_running_loop()
        loop.call_soon(self._on_end, code)
        loop.call_later(noticed_after_s, self._door.on_close, self._fd, self, code)

    def _carry(self, way: str, arrive: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        at = max(self._last[way] + STEP_S, loop.time() + self._door.weather.short_delay_s())
        self._last[way] = at
        loop.call_at(at, self._arrive, arrive)

    def _arrive(self, arrive: Callable[[], None]) -> None:
        if self._is_up:
            arrive()


class Door:
    """A gateway process: `api.Gateway` and `api.Links` for one `ClientProtocol`."""

    def __init__(self, node: Node, app: ClientProtocol, weather: Weather) -> None:
        self.node, self.weather = node, weather
        self.incarnation = node.name
        self._app = app
        self._lines: dict[int, Line] = {}
        self._next_fd = 10
        self.log: list[Line] = []
        app.start(self)  # type: ignore[arg-type]
        node.on_kill.append(self._break_all)

    def connect(self, hear: Callable[[FromGateway], None], on_end: Callable[[int], None]) -> Line:
        """A client comes; every connection has a number of its own here."""
        fd = self._next_fd = self._next_fd + 1
        line = self._lines[fd] = Line(self, fd, hear, on_end)
        self.log.append(line)
        self.node.run(self._app.on_open, self._peer(fd))
        return line

    def on_message(self, fd: int, line: Line, text: str) -> None:
        if self._lines.get(fd) is line and not self.node.is_dead:
            self.node.run(self._app.on_message, self._peer(fd), text)

    def on_close(self, fd: int, line: Line, code: int) -> None:
        if self._lines.get(fd) is line and not self.node.is_dead:
            del self._lines[fd]
            self.node.run(self._app.on_close, self._peer(fd), code, "")

    def _break_all(self) -> None:
        for line in list(self._lines.values()):
            line.end()
        self._lines.clear()

    def _peer(self, fd: int) -> Peer:
        return Peer(self, fd, 1)

    # What an application may ask (`api.Gateway`).

    def cells(self, width_bytes: int) -> Cells:
        return Cells(width_bytes)

    # What a peer can do (`api.Links`).

    def send(self, fd: int, generation: int, message: Message) -> bool:
        line = self._lines.get(fd)
        if line is None or self.node.is_dead:
            return False
        assert isinstance(message, str)
        line.tell(message)
        return True

    def send_frame(self, fd: int, generation: int, frame: Frame) -> bool:
        raise NotImplementedError

    def close(self, fd: int, generation: int, close: Close) -> None:
        line = self._lines.get(fd)
        if line is not None:
            line.end(close.number)

    def hold(self, fd: int, generation: int, change: int) -> None:
        """Nobody is idle here."""

    def is_open(self, fd: int, generation: int) -> bool:
        return fd in self._lines and not self.node.is_dead

    def request(self, fd: int, generation: int) -> Request | None:
        return None

    def unsent_bytes(self, fd: int, generation: int) -> int:
        return 0
