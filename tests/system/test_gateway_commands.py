"""``roost gateway`` and ``roost up`` as processes whose protections come from options and variables."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest

from bench.support import services
from bench.support.components import Process, part, start_part
from bench.support.waiting import until
from tests.gateway.admission.test_jwt import KEY, token
from tests.gateway.io.test_tls import make_certificate
from tests.roost.cli.command import ROOST, finish
from tests.system.test_gateway_access import handshake

pytestmark = pytest.mark.slow


def served_certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))


async def test_roost_up_speaks_tls_to_its_clients_and_reads_a_new_certificate_on_sighup(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    port, gateway_port = services.free_port(), services.free_port()
    ports = ("--port", str(port), "--gateway-port", str(gateway_port))
    async with part("up", *ports, "--tls-cert", certificate, "--tls-key", key) as up:
        server = ("https://example.org", "--depth", "0", "--server", f"http://127.0.0.1:{port}")
        crawling = await asyncio.create_subprocess_exec(
            *ROOST,
            *(*server, "--format", "csv"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "SSL_CERT_FILE": certificate},
        )
        crawl = await finish(crawling)
        assert (crawl.code, b"https://example.org" in crawl.out) == (0, True), crawl.err
        before = await asyncio.to_thread(served_certificate, gateway_port)
        make_certificate(tmp_path)
        up.child.send_signal(signal.SIGHUP)

        async def is_new() -> bool:
            return await asyncio.to_thread(served_certificate, gateway_port) != before

        await until(is_new)
        assert await up.terminate() == 0


async def test_roost_up_with_allowed_origins_lets_no_other_page_connect_nor_read() -> None:
    port, gateway_port = services.free_port(), services.free_port()
    variables = {"ROOST_ALLOW_ORIGINS": "https://good.example"}
    up = await start_part("up", "--port", str(port), "--gateway-port", str(gateway_port), variables=variables)
    try:
        for origin, outcome, readable_by in (
            ("https://good.example", "welcome", "https://good.example"),
            ("https://evil.example", 403, None),
        ):
            assert await handshake(f"ws://127.0.0.1:{gateway_port}", origin=origin) == outcome
            url, headers = f"http://127.0.0.1:{port}/v1/components", {"Origin": origin}
            async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
                assert answer.headers.get("Access-Control-Allow-Origin") == readable_by
                assert answer.headers["Vary"] == "Origin"
    finally:
        await up.kill()


async def gateway_part(*options: str, discovery_url: str, **variables: str) -> Process:
    """``roost gateway`` over the run's RabbitMQ."""
    given = ("--broker", services.rabbitmq().url, "--discovery", discovery_url)
    return await start_part("gateway", *given, *options, variables=variables)


async def test_roost_gateway_asks_for_the_tokens_of_its_environment() -> None:
    async with part("discovery", "--port", "0") as discovery:
        url = re.findall(r"http://\S+", discovery.said)[0]
        gateway = await gateway_part("--gateway-port", "0", discovery_url=url, ROOST_JWT_KEY=KEY)
        try:
            place = re.findall(r"ws://\S+", gateway.said)[0]
            assert await handshake(place) == 401
            assert await handshake(place, headers={"Authorization": f"Bearer {token()}"}) == "welcome"
            assert KEY not in "".join(gateway.complaints)
        finally:
            await gateway.kill()


async def test_roost_gateway_as_several_processes_is_several_gateways_and_one_signal_ends_them() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with part("discovery", "--port", "0") as discovery:
        url = re.findall(r"http://\S+", discovery.said)[0]
        options = ("--processes", "2", "--gateway-port", str(port), "--require-ticket")
        gateway = await gateway_part(*options, discovery_url=url)
        try:

            async def gateways() -> dict[str, str]:
                async with aiohttp.ClientSession() as http, http.get(url + "/v1/components") as answer:
                    listed = (await answer.json())["components"]
                return {each["address"]: each["incarnation"] for each in listed}

            async def are_both_there() -> bool:
                return {*await gateways()} == {f"ws://127.0.0.1:{port + index}" for index in range(2)}

            await until(are_both_there)
            assert len({*(await gateways()).values()}) == 2
            for _ in range(6):  # some for each
                async with aiohttp.ClientSession() as http, http.get(url + "/v1/gateway") as answer:
                    choice = await answer.json()
                assert await handshake(choice["url"], params={"ticket": choice["ticket"]}) == "welcome"
            assert await gateway.terminate() == 0
            assert "Traceback" not in "".join(gateway.complaints)
        finally:
            await gateway.kill()
