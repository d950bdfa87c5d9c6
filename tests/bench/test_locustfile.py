"""The locust file as people use it: with its web page, without one, and where it cannot work."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bench.support.services import free_port
from roost.allinone import System
from tests.system.cluster import until
from tests.system.conftest import steps as steps
from tests.system.conftest import system as system

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0
STEPS = {"job_kind": "steps", "job_spec": "{}"}


@asynccontextmanager
async def locust(*arguments: str, descriptors: int = 0) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``locust -f bench/load/locustfile.py ARGUMENTS``, perhaps with fewer descriptors."""
    limit = f"ulimit -n {descriptors} && " if descriptors else ""
    command = f'{limit}exec "$0" -m locust -f bench/load/locustfile.py --only-summary "$@"'
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "LOCUST_"))}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command, sys.executable, *arguments),
        cwd=ROOT,
        env=clean,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_web_page_starts_a_test_shows_its_requests_and_stops_it(system: System) -> None:
    page = f"http://127.0.0.1:{free_port()}"
    options = {"user_count": "30", "spawn_rate": "100", "host": system.url, "job_every_s": "0.5", **STEPS}
    async with (
        asyncio.timeout(PATIENCE_S),
        locust("--web-host", "127.0.0.1", "--web-port", page.rpartition(":")[2]) as process,
        aiohttp.ClientSession(page) as http,
    ):
        while True:
            try:
                async with http.get("/") as answer:
                    assert answer.status == 200
                    assert "Locust" in await answer.text()
                    break
            except aiohttp.ClientConnectionError:
                assert process.returncode is None
                await asyncio.sleep(0.05)
        async with http.post("/swarm", data=options) as answer:
            assert (await answer.json())["success"]
        counts: dict[str, int] = {}
        while counts.get("connect") != 30 or counts.get("job", 0) < 30:
            async with http.get("/stats/requests") as answer:
                stats = (await answer.json())["stats"]
            counts = {entry["name"]: entry["num_requests"] for entry in stats if not entry["num_failures"]}
        assert system.gateway.counters.open_now == 30
        async with http.post("/stop") as answer:
            assert answer.status == 200
        await until(lambda: not system.gateway.counters.open_now)
        assert system.gateway.counters.closed == {1001: 30}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--users", "21"), "1 process(es) have room for 20. Raise the limit (ulimit -n)"),
        (("--host", "https://127.0.0.1:9"), "write http://HOST:PORT or ws://HOST:PORT, not 'https://127.0.0.1:9'"),
    ],
)
async def test_what_cannot_work_is_told_before_anything_runs(options: tuple[str, ...], sentence: str) -> None:
    async with asyncio.timeout(PATIENCE_S), locust("--headless", *options, descriptors=520) as process:
        _, complaints = await process.communicate()
    assert process.returncode == 2
    assert sentence in complaints.decode()
