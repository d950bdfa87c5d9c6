"""A gateway process and a real discovery: registration, selection, connecting with a ticket, removal."""

from __future__ import annotations

import aiohttp
import pytest

from roost.discovery.registrar import Registrar
from roost.discovery.server import Discovery
from roost.wire.messages.registry import ComponentKind
from roost.wire.tokens import Keyring
from tests.gateway.harness import GatewayFixture, until
from tests.gateway.process.test_command import running

pytestmark = pytest.mark.slow


async def test_a_client_finds_the_gateway_through_discovery_and_enters_with_its_ticket(
    gateways: GatewayFixture,
) -> None:
    keyring = Keyring.random()
    discovery = Discovery("127.0.0.1", 0, keyring)
    await discovery.start()
    server = await gateways.serve(keyring=keyring, require_ticket=True)
    registrar = Registrar(
        [discovery.url],
        ComponentKind.GATEWAY,
        lambda: f"ws://{server.addresses[0]}",
        server.vitals,
        incarnation=server.incarnation,
    )
    await registrar.start()
    try:
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{discovery.url}/v1/gateway") as answer:
                choice = await answer.json()
            assert choice["url"] == f"ws://127.0.0.1:{server.port}"
            async with http.ws_connect(f"{choice['url']}/?ticket={choice['ticket']}") as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "hello"
            await registrar.drain()
            async with http.get(f"{discovery.url}/v1/gateway") as answer:
                assert answer.status == 503
    finally:
        await registrar.stop()
        await discovery.stop()
    await until(lambda: server.counters.open_now == 0)


async def test_a_gateway_process_is_known_by_its_labels_and_preferred_for_them() -> None:
    discovery = Discovery("127.0.0.1", 0, Keyring.random())
    await discovery.start()
    known = ("--discovery", discovery.url)
    async with (
        running(*known, "--label", "zone=a", alone=False) as here,
        running(*known, alone=False, ROOST_LABEL="zone=b,disk=fast") as there,
        aiohttp.ClientSession(discovery.url) as http,
    ):
        for query, gateway in (("zone=a", here), ("zone=b", there), ("zone=b&disk=fast", there)) * 3:
            async with http.get(f"/v1/gateway?{query}") as answer:
                assert (await answer.json())["url"].endswith(f":{gateway.port}")
        async with http.get("/v1/components") as answer:
            labels = [component["labels"] for component in (await answer.json())["components"]]
        assert sorted(labels, key=str) == [{"zone": "a"}, {"zone": "b", "disk": "fast"}]
    await discovery.stop()
