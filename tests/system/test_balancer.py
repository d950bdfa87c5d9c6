"""``roost gateway`` behind a real HAProxy on another address, which ends TLS and says who each client is."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from bench.support import services
from bench.support.components import Process, part
from tests.gateway.process.test_command import UPGRADE
from tests.gateway.websocket.bytes_of import text
from tests.system.haproxy import PORT, HaProxy, haproxy

pytestmark = [pytest.mark.root, pytest.mark.slow]

AT_ONCE = 50
"""Handshakes under way at a time."""

PATIENCE_S = 60.0
"""Of a client that comes beside many others; a handshake of TLS costs four processes some milliseconds."""
UPGRADED, REFUSED = 101, 429


@dataclass
class Crowd:
    """Clients behind the balancer that stay connected; each is a raw connection, so that 1,500 of them are cheap."""

    balancer: HaProxy
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._trust = ssl.create_default_context(cafile=self.balancer.certificate)
        self._trust.check_hostname = False  # the certificate is for localhost
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def connect(self, count: int, address: str) -> Counter[int]:
        """So many more clients from this address; how many of each status came. Those let in were welcomed."""
        return Counter(await asyncio.gather(*(self._come(address) for _ in range(count))))

    async def _come(self, address: str) -> int:
        async with self._turns, asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(
                self.balancer.address, PORT, ssl=self._trust, local_addr=(address, 0)
            )
            self.writers.append(writer)
            fields = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
            head = f"GET / HTTP/1.1\r\nHost: gateway\r\n{fields}Sec-WebSocket-Protocol: roost.v1\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer.split()[1])
            if status == UPGRADED:
                writer.write(text(json.dumps({"type": "hello", "epoch": 1})))
                opcode, size = await reader.readexactly(2)
                assert opcode == 0x81
                if size == 126:
                    size = int.from_bytes(await reader.readexactly(2), "big")
                assert json.loads(await reader.readexactly(size))["type"] == "welcome"
            return status

    def leave(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@asynccontextmanager
async def behind_haproxy(*options: str, forwards: bool = False) -> AsyncIterator[tuple[Crowd, Process, str]]:
    """A crowd, still without clients, the gateway that it goes to, and the URL that discovery names for it."""
    port = services.free_port()
    async with AsyncExitStack() as stack:
        discovery = await stack.enter_async_context(part("discovery", "--port", "0"))
        url = re.findall(r"http://\S+", discovery.said)[0]
        balancer = stack.enter_context(haproxy(port, forwards=forwards))
        public_url = f"wss://{balancer.address}:{PORT}"
        where = ("--host", balancer.gateway_address, "--gateway-port", str(port), "--public-url", public_url)
        engines = ("--broker", services.rabbitmq().url, "--discovery", url)
        times = ("--ping-after-s", "0", "--handshake-s", str(PATIENCE_S))  # nobody would answer a ping
        given = [option.replace("BALANCER", balancer.address) for option in options]
        gateway = await stack.enter_async_context(part("gateway", *where, *engines, *times, *given))
        crowd = Crowd(balancer)
        stack.callback(crowd.leave)
        yield crowd, gateway, url


@pytest.mark.timeout(300)
async def test_1500_clients_come_through_haproxy_with_tls_and_proxy_v2_and_each_address_counts_for_itself() -> None:
    async with behind_haproxy("--proxy-protocol") as (crowd, gateway, discovery_url):
        one, other = crowd.balancer.client_addresses
        assert await crowd.connect(1000, one) == {UPGRADED: 1000}
        assert await crowd.connect(500, other) == {UPGRADED: 500}
        assert await crowd.connect(3, one) == {REFUSED: 3}, "an address may have 1,000 connections"
        assert await crowd.connect(1, other) == {UPGRADED: 1}
        async with aiohttp.ClientSession() as http, http.get(discovery_url + "/v1/gateway") as answer:
            assert (await answer.json())["url"] == f"wss://{crowd.balancer.address}:{PORT}"
        assert gateway.is_running
        assert "Traceback" not in "".join(gateway.complaints)


@pytest.mark.parametrize(
    ("options", "forwards"),
    [(("--proxy-protocol",), False), (("--trusted-proxies", "BALANCER/32"), True)],
    ids=["PROXY protocol", "X-Forwarded-For"],
)
async def test_the_limit_of_an_address_is_about_the_client_and_not_the_balancer(
    options: tuple[str, ...], forwards: bool
) -> None:
    async with behind_haproxy(*options, "--max-per-address", "2", forwards=forwards) as (crowd, _, _):
        for address in crowd.balancer.client_addresses:
            assert await crowd.connect(2, address) == {UPGRADED: 2}
            assert await crowd.connect(2, address) == {REFUSED: 2}


async def test_without_either_option_the_balancer_is_one_client() -> None:
    async with behind_haproxy("--max-per-address", "2", forwards=True) as (crowd, _, _):
        one, other = crowd.balancer.client_addresses
        assert await crowd.connect(2, one) == {UPGRADED: 2}
        assert await crowd.connect(2, other) == {REFUSED: 2}
