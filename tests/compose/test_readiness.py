"""What a container's health check asks, and that each part has an answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bench.support import services
from bench.support.components import part
from roost.wire.service import AdminHttp
from tests.compose.engine import ROOT

pytestmark = [pytest.mark.engines, pytest.mark.slow]

CHECK = ROOT / "deploy/roost-ready"


@pytest.fixture
async def states() -> AsyncIterator[tuple[AdminHttp, list[bool]]]:
    """A part's admin port, and the list whose last item is what it tells."""
    told = [True]
    admin = AdminHttp(services.LOOPBACK, 0, lambda: told[-1])
    await admin.start()
    yield admin, told
    await admin.stop()


async def check(**variables: str) -> int:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
    process = await asyncio.create_subprocess_exec(CHECK, env=inherited | variables, stdout=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(10):
        return await process.wait()


async def test_the_health_check_tells_a_part_that_takes_work_from_one_that_does_not(
    states: tuple[AdminHttp, list[bool]],
) -> None:
    admin, told = states
    unused = str(services.free_port())
    assert await check(ROOST_ADMIN_PORT=str(admin.port), ROOST_PORT=unused) == 0
    assert await check(ROOST_ADMIN_PORT=unused, ROOST_PORT=str(admin.port)) == 0
    assert await check(ROOST_ADMIN_PORT=unused, ROOST_PORT=unused) == 1
    told.append(False)
    assert await check(ROOST_ADMIN_PORT=str(admin.port), ROOST_PORT=unused) == 1


async def read(port: int, path: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://{services.LOOPBACK}:{port}{path}") as answer:
        return f"{answer.status} {await answer.text()}"


@pytest.mark.parametrize("name", ["gateway", "master", "worker"])
async def test_a_part_tells_at_its_admin_port_that_it_takes_work_and_what_it_did(name: str) -> None:
    port = services.free_port()
    engines = ("--broker", services.rabbitmq().url, "--discovery", f"http://{services.LOOPBACK}:1")
    extra = ("--gateway-port", "0") if name == "gateway" else ()
    async with part(name, "--admin-port", str(port), *engines, *extra):
        assert await read(port, "/ready") == "200 ready\n"
        metrics = await read(port, "/metrics")
    assert metrics.startswith("200 ")
    assert ("roost_gateway" in metrics) == (name == "gateway")
