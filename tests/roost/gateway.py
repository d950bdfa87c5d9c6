"""A gateway whose every word a test chooses, over real WebSockets, and the beat that makes discovery name it."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import aiohttp
from aiohttp import web
from msgspec import Raw

from roost.wire.codec import pack, to_json
from roost.wire.codes import Close
from roost.wire.messages import client as protocol
from roost.wire.messages.client import (
    SUBPROTOCOL,
    FromClient,
    FromGateway,
    Limits,
    read_from_client,
)
from roost.wire.messages.outcome import Outcome
from tests.discovery.beats import make_beat

PATIENCE_S = 10.0
LIMITS = Limits(message_bytes=64 * 1024, live_requests=10, retention_s=3600)

Said = TypeVar("Said", bound=protocol.ClientMessage)


class Conversation:
    """One client's connection, as the gateway has it."""

    def __init__(self, socket: web.WebSocketResponse, ticket: str) -> None:
        self._socket = socket
        self.ticket = ticket
        self._heard: asyncio.Queue[FromClient | None] = asyncio.Queue()
        self.over = asyncio.Event()

    async def listen(self) -> None:
        """Until the connection ends."""
        async for frame in self._socket:
            self._heard.put_nowait(read_from_client(frame.data))
        self._heard.put_nowait(None)
        self.over.set()

    async def hear(self, kind: type[Said]) -> Said:
        """The next message, which must be of this type."""
        async with asyncio.timeout(PATIENCE_S):
            message = await self._heard.get()
        assert isinstance(message, kind), message
        return message

    async def say(self, *messages: FromGateway) -> None:
        for message in messages:
            await self.say_text(to_json(message).decode())

    async def say_text(self, text: str) -> None:
        await self._socket.send_str(text)

    async def say_result(self, request: str, *parts: bytes) -> None:
        """A finished result in these parts."""
        for seq, data in enumerate(parts):
            await self.say(protocol.Part(request, seq, Raw(data)))
        await self.say(protocol.Result(request, Outcome.DONE, len(parts), Raw(b'{"n":1}')))

    async def welcome(self, session: str = "session-1") -> protocol.Hello:
        """Hear the hello and answer it."""
        hello = await self.hear(protocol.Hello)
        await self.say(protocol.Welcome(session, LIMITS))
        return hello

    async def close(self, close: Close) -> None:
        await self._socket.close(code=close.number, message=close.reason.encode())

    def cut(self) -> None:
        """Break the connection without a word."""
        transport = self._socket._req.transport if self._socket._req is not None else None
        assert transport is not None
        transport.abort()


class ScriptedGateway:
    """Accepts connections and hands them to the test; `refuse_with` is an HTTP status to answer instead."""

    def __init__(self, name: str = "g1") -> None:
        self.name = name
        self.url = ""
        self.refuse_with = 0
        self.refused = asyncio.Event()
        self._sequence = 0
        self._arrived: asyncio.Queue[Conversation] = asyncio.Queue()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._accept)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def meet(self) -> Conversation:
        """The next client that connects."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._arrived.get()

    async def register(self, discovery_url: str, load: int = 0) -> None:
        """Beat once."""
        self._sequence += 1
        beat = make_beat(self.name, self._sequence, load, 100, address=self.url)
        async with aiohttp.ClientSession() as http, http.post(f"{discovery_url}/v1/beat", data=pack(beat)) as response:
            assert response.status == 200

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_with:
            self.refused.set()
            return web.Response(status=self.refuse_with)
        socket = web.WebSocketResponse(protocols=[SUBPROTOCOL])
        await socket.prepare(request)
        conversation = Conversation(socket, request.query.get("ticket", ""))
        self._arrived.put_nowait(conversation)
        await conversation.listen()
        return socket
