"""Who gets in at a gateway that speaks the job protocol: each protection is seen to refuse, and to admit."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from roost.gateway.admission.access import Access
from tests.gateway.admission.test_jwt import KEY, token
from tests.gateway.io.test_tls import make_certificate
from tests.system.cluster import Cluster, until

pytestmark = pytest.mark.slow

HELLO = {"type": "hello", "epoch": 1}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path) as cluster:
        yield cluster


async def handshake(url: str, **how: Any) -> int | str:
    """The status that refuses this client, or the type of the gateway's first message to it."""
    async with aiohttp.ClientSession() as http:
        try:
            async with http.ws_connect(url, protocols=["roost.v1"], **how) as socket:
                await socket.send_json(HELLO)
                return str((await socket.receive_json())["type"])
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status


async def test_with_a_jwt_key_nobody_gets_in_without_a_token_signed_with_it(cluster: Cluster) -> None:
    _, server = await cluster.start_gateway(Access(jwt_key=KEY, jwt_audience="roost"))

    async def shown(text: str) -> int | str:
        return await handshake(server.url, headers={"Authorization": f"Bearer {text}"})

    assert await handshake(server.url) == 401
    assert await shown(token(key="another secret of more than 32 bytes, too", aud="roost")) == 401
    assert await shown(token(aud="elsewhere")) == 401
    assert await shown(token(aud="roost")) == "welcome"


async def test_with_require_ticket_only_clients_that_discovery_sent_get_in(cluster: Cluster) -> None:
    _, server = await cluster.start_gateway(Access(require_ticket=True))
    assert await handshake(server.url) == 403

    async def choice() -> dict[str, str]:
        async with aiohttp.ClientSession() as http, http.get(cluster.url + "/v1/gateway") as answer:
            return dict(await answer.json())

    found = await choice()
    assert await handshake(found["url"], params={"ticket": found["ticket"]}) == "welcome"


async def test_with_allow_origins_pages_of_other_origins_are_refused(cluster: Cluster) -> None:
    _, server = await cluster.start_gateway(allow_origins="https://good.example")
    assert await handshake(server.url, origin="https://evil.example") == 403
    assert await handshake(server.url, origin="https://good.example") == "welcome"
    assert await handshake(server.url) == "welcome"


async def test_over_tls_discovery_names_a_wss_address_at_which_clients_are_welcome(
    cluster: Cluster, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    _, server = await cluster.start_gateway(tls_cert=certificate, tls_key=key, compression=True)
    async with aiohttp.ClientSession() as http, http.get(cluster.url + "/v1/gateway") as answer:
        url = (await answer.json())["url"]
    assert url == f"wss://127.0.0.1:{server.port}"
    trust = ssl.create_default_context(cafile=certificate)
    assert await handshake(url, ssl=trust, compress=15) == "welcome"
    with pytest.raises(aiohttp.ClientError):
        await handshake(f"ws://127.0.0.1:{server.port}")
    await until(lambda: server.connections == 0)
