"""What a link does about silence."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import aiohttp
import pytest

from roost.client.route import BROKEN, NoGateway, Route
from roost.discovery.core.client_tickets import ClientTicketLimits
from roost.discovery.server import Discovery
from roost.wire.codec import pack
from roost.wire.messages.client import SUBPROTOCOL, Welcome
from roost.wire.messages.registry import Beat, Choice, ComponentKind
from roost.wire.tokens import Keyring
from tests.roost.gateway import LIMITS, ScriptedGateway


async def _accept_and_say_nothing_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line for line in request.splitlines() if line.lower().startswith("sec-websocket-key:")).split(": ")[1]
    proof = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + f"Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
    )
    await reader.read()
    writer.close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.client.route.SILENCE_S", 0.02)
    monkeypatch.setattr("roost.client.route.PONG_S", 0.5)


@pytest.mark.usefixtures("_impatient")
async def test_a_gateway_that_answers_pings_is_kept_however_long_it_is_silent(gateway: ScriptedGateway) -> None:
    async with aiohttp.ClientSession() as http:
        link = await Route(http, [gateway.url]).open()
        conversation = await gateway.meet()
        receiving = asyncio.create_task(link.receive())
        done, _ = await asyncio.wait({receiving}, timeout=0.3)
        assert not done
        await conversation.say(Welcome("s", LIMITS))
        assert await receiving == Welcome("s", LIMITS)
        await link.close()


@pytest.mark.usefixtures("_impatient")
async def test_a_gateway_that_answers_nothing_is_given_up() -> None:
    server = await asyncio.start_server(_accept_and_say_nothing_more, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as http:
        link = await Route(http, [f"ws://127.0.0.1:{port}"]).open()
        async with asyncio.timeout(10):
            assert await link.receive() == BROKEN
        await link.close()
    server.close()
    await server.wait_closed()


async def test_a_websocket_of_another_protocol_is_no_way_in(gateway: ScriptedGateway) -> None:
    from aiohttp import web

    async def accept(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/", accept)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    async with aiohttp.ClientSession() as http:
        with pytest.raises(NoGateway, match="does not speak"):
            await Route(http, [url]).connect(Choice(url, "secret-ticket"))
    await runner.cleanup()


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_a_refusal_names_gateway_and_status_but_not_the_ticket(gateway: ScriptedGateway, status: int) -> None:
    gateway.refuse_with = status
    async with aiohttp.ClientSession() as http:
        with pytest.raises(NoGateway, match=f"refused: {status}") as caught:
            await Route(http, [gateway.url]).connect(Choice(gateway.url, "secret-ticket"))
    assert "secret-ticket" not in str(caught.value)


async def test_a_client_whose_address_has_too_many_tickets_comes_back_when_discovery_says() -> None:
    limits = ClientTicketLimits(max_unused_tickets=1, count_loopback=True)
    discovery = Discovery("127.0.0.1", 0, Keyring.random(), limits=limits)
    await discovery.start()
    async with aiohttp.ClientSession() as http:
        beat = pack(Beat(ComponentKind.GATEWAY, "g1", 1, "ws://127.0.0.1:9", 10, 0))
        assert (await http.post(f"{discovery.url}/v1/beat", data=beat)).status == 200
        assert (await http.get(f"{discovery.url}/v1/gateway")).status == 200
        with pytest.raises(NoGateway, match="too many unused tickets") as refusal:
            await Route(http, [discovery.url]).open()
        assert refusal.value.retry_after_s == 1
    await discovery.stop()
