"""Test fixtures: real gateways on loopback sockets, and a client that the test controls completely."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.events import Request as UpgradeRequest

from roost.gateway.api import Application, Gateway, Message, Peer, Refusal, Request
from roost.gateway.connections.wheel import TICK_S
from roost.gateway.server import Server
from roost.gateway.settings import Settings

PATIENCE_S = 10.0
"""A test that waits longer than this has failed."""


class TickClock:
    """A clock that the test advances; `sleep` is real, so that drains end."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.now_s + 1.7e9

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Recorder(Application):
    """Echoes messages, and records all callbacks."""

    subprotocols = ("roost.v1",)

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.peers: list[Peer] = []
        self.changed = asyncio.Event()
        self.gateway: Gateway | None = None
        self.refusal: Refusal | None = None
        self.requests: list[Request] = []
        self.on: dict[str, Callable[..., None]] = {}
        """Functions that the test runs in a callback, by its name; for "message" instead of the echo."""

    def _note(self, what: str, *more: Any) -> None:
        self.log.append((what, *more))
        self.changed.set()
        if what in self.on:
            self.on[what](*more)

    def start(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def stop(self) -> None:
        self._note("stop")

    def admit(self, request: Request) -> Refusal | None:
        self.requests.append(request)
        return self.refusal

    def on_open(self, peer: Peer) -> None:
        self.peers.append(peer)
        self._note("open", peer)

    def on_message(self, peer: Peer, message: Message) -> None:
        if "message" not in self.on:
            peer.send(message)
        self._note("message", peer, message)

    def on_drained(self, peer: Peer) -> None:
        self._note("drained", peer)

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        self._note("close", peer, code, reason)

    def closes(self) -> list[int]:
        return [entry[2] for entry in self.log if entry[0] == "close"]


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail when it does not within PATIENCE_S."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  conditions here are plain attributes; nobody could set an event
            await asyncio.sleep(0.002)


class GatewayFixture:
    """Gateways and clients of one test; closes all at the end, and checks that no state is left."""

    def __init__(self) -> None:
        self._clients: list[Client] = []
        self._servers: list[Server] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        for server in self._servers:
            await server.stop()
            assert server.connections == server.counters.open_now == 0
            assert not server.writer.outboxes
            assert not server.writer.parsers

    async def serve(self, app: Application | None = None, *, clock: TickClock | None = None, **settings: Any) -> Server:
        more: dict[str, Any] = {
            name: settings.pop(name)
            for name in ("keyring", "require_ticket", "incarnation", "bearer", "reserve_endpoints")
            if name in settings
        }
        if clock is not None:
            more["clock"] = clock
        server = Server(app or Recorder(), Settings(port=0, **settings), **more)
        self._servers.append(server)
        await server.start()
        return server

    def spare(self, *, receive_buffer: int | None = None, source: str | None = None) -> Client:
        """Return a client that is not connected yet."""
        raw = socket.socket()
        raw.setblocking(False)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            raw.bind((source, 0))
        client = Client(raw)
        self._clients.append(client)
        return client

    async def connect(self, server: Server, **how: Any) -> Client:
        """Open a TCP connection and send nothing."""
        client = self.spare(**how)
        await client.connect(server)
        return client

    async def open(self, server: Server, target: str = "/", subprotocols: Sequence[str] = (), **how: Any) -> Client:
        """Open a WebSocket connection."""
        client = await self.connect(server, **how)
        await client.upgrade(target, subprotocols)
        return client


async def pass_time(server: Server, clock: TickClock, seconds: float) -> None:
    """Advance the gateway's clock by `seconds`, tick by tick, and let the event loop run."""
    for _ in range(round(seconds / TICK_S)):
        clock.now_s += TICK_S
        server.ticker.tick()
    await asyncio.sleep(0)


class Client:
    """The client's end of one connection."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self._loop = asyncio.get_running_loop()
        self.ws = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self.accepted: AcceptConnection | None = None

    async def connect(self, server: Server) -> None:
        await self._loop.sock_connect(self.raw, ("127.0.0.1", server.port))

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self._loop.sock_sendall(self.raw, data)

    async def read(self, size: int = 65536) -> bytes:
        """Return the available bytes; empty at the end of the stream."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._loop.sock_recv(self.raw, size)

    async def read_all(self) -> bytes:
        """Return all bytes until the gateway closes."""
        data = b""
        while piece := await self.read():
            data += piece
        return data

    def upgrade_bytes(self, target: str = "/", subprotocols: Sequence[str] = ()) -> bytes:
        return self.ws.send(UpgradeRequest(host="gateway.test", target=target, subprotocols=list(subprotocols)))

    async def upgrade(self, target: str = "/", subprotocols: Sequence[str] = ()) -> None:
        await self.write(self.upgrade_bytes(target, subprotocols))
        event = await self.event()
        assert isinstance(event, AcceptConnection), event
        self.accepted = event

    async def send(self, event: Event) -> None:
        await self.write(self.ws.send(event))

    async def say(self, message: Message) -> None:
        await self.send(TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message))

    async def event(self) -> Event:
        """Return the next event from the gateway."""
        while not self._events:
            data = await self.read()
            if not data:
                raise ConnectionError("the gateway closed without a close frame")
            self.ws.receive_data(data)
            self._events.extend(self.ws.events())
        return self._events.pop(0)

    async def hear(self) -> Message:
        """Return the next whole message; answers pings in between."""
        parts: list[Any] = []
        while True:
            event = await self.event()
            if isinstance(event, Ping):
                await self.send(event.response())
                continue
            assert isinstance(event, (TextMessage, BytesMessage)), event
            parts.append(event.data)
            if event.message_finished:
                return b"".join(parts) if isinstance(event, BytesMessage) else "".join(parts)

    async def closed(self) -> tuple[int, str]:
        """Return code and reason of the gateway's close frame, answer it, and wait for the end of the stream."""
        event = await self.event()
        while not isinstance(event, CloseConnection):
            event = await self.event()
        if self.ws.state is ConnectionState.REMOTE_CLOSING:
            with contextlib.suppress(OSError):
                await self.send(event.response())
        with contextlib.suppress(ConnectionError):
            assert await self.read() == b""
        self.close()
        return int(event.code), event.reason or ""

    def reset(self) -> None:
        """Reset the connection without a close frame."""
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()

    def close(self) -> None:
        self.raw.close()


__all__ = ["Client", "GatewayFixture", "Ping", "Pong", "Recorder", "TickClock", "pass_time", "until"]
