"""A client that sends exactly what a test wants, over a real WebSocket."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any

import aiohttp

PATIENCE_S = 20.0


class ScriptedClient:
    """One connection to the gateway that discovery names."""

    def __init__(self, discovery_url: str) -> None:
        self._discovery_url = discovery_url
        self._http = aiohttp.ClientSession()
        self.session = ""

    async def __aenter__(self) -> ScriptedClient:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def connect(self) -> None:
        """Ask discovery, and open the WebSocket that it names."""
        async with self._http.get(self._discovery_url + "/v1/gateway") as answer:
            choice = await answer.json()
        url = f"{choice['url']}?ticket={choice['ticket']}"
        self.socket = await self._http.ws_connect(url, protocols=["roost.v1"], max_msg_size=1 << 22)

    async def hello(self, session: str | None = None, epoch: int = 1) -> None:
        """Send hello and keep the session."""
        await self.say("hello", session=session, epoch=epoch)
        self.session = (await self.hear("welcome"))["session"]

    async def leave(self) -> None:
        await self.socket.close()

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        assert self.socket._response.connection is not None
        transport = self.socket._response.connection.transport
        assert transport is not None
        transport.abort()

    async def say(self, type_: str, **fields: Any) -> None:
        await self.say_text(json.dumps({"type": type_, **fields}))

    async def say_text(self, text: str) -> None:
        await self.socket.send_str(text)

    async def submit(self, request: str = "r1", kind: str = "steps", stream: bool = False, **spec: Any) -> None:
        await self.say("submit", id=request, kind=kind, spec=spec, stream=stream)

    async def hear(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of one of these types; others are skipped."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                frame = await self.socket.receive()
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    raise ConnectionError(f"closed with {self.socket.close_code} {frame.extra or ''}")
                message: dict[str, Any] = json.loads(frame.data)
                if message["type"] in kinds:
                    return message

    async def result(self, ack: bool = True) -> tuple[dict[str, Any], list[Any]]:
        """Return the next result and its parts."""
        parts: list[Any] = []
        while True:
            message = await self.hear("part", "result")
            if message["type"] == "result":
                break
            assert message["seq"] == len(parts)
            parts.append(message["data"])
        if ack:
            await self.say("ack", id=message["id"])
        return message, parts

    async def understood(self) -> None:
        """Wait until the server has processed all messages so far: it answers a second hello after them."""
        await self.say("hello")
        while "hello" not in (await self.hear("error"))["message"]:
            pass

    async def closed(self) -> int:
        """Return the gateway's close code."""
        async with asyncio.timeout(PATIENCE_S):
            while (await self.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        return self.socket.close_code or 0
