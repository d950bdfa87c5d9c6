"""A gateway that leaves moves its clients to another one, jobs in flight included (P29)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import roost
from bench.support.scripted_client import ScriptedClient
from tests.system.cluster import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """One of each part; the gateway has some time to leave."""
    async with Cluster(tmp_path, drain_s=10.0) as cluster:
        await cluster.start_all()
        yield cluster


async def test_a_client_with_a_job_in_flight_is_moved_and_its_result_comes_at_the_new_place(cluster: Cluster) -> None:
    async with roost.connect(cluster.url) as client:
        request = client.submit("steps", {"behave": "gate", "levels": 2})
        await cluster.steps.runner_made.started.wait()
        _, other = await cluster.start_gateway()
        await cluster.gateway_stack.drain()
        await cluster.gateway_stack.stop()
        assert cluster.gateway.counters.moves == 1
        assert other.connections == 1
        assert (other.counters.opened, other.counters.refused) == (1, {}), "its place was kept"
        cluster.steps.runner_made.gate.set()
        assert (await request.result()).parts == [["0"], ["1"]]


async def test_everybody_is_away_for_no_moment_and_leaves_by_itself(cluster: Cluster) -> None:
    clients = [roost.connect(cluster.url) for _ in range(20)]
    for client in clients:
        await client.__aenter__()
    _, other = await cluster.start_gateway()
    draining = asyncio.create_task(cluster.gateway_stack.drain())
    fewest = 20
    while not draining.done():
        fewest = min(fewest, cluster.gateway.counters.open_now + other.counters.open_now)
        await asyncio.sleep(0)
    assert fewest == 20
    assert 1012 not in cluster.gateway.counters.closed
    assert other.counters.open_now == 20
    await asyncio.gather(*(client.close() for client in clients))


async def test_a_client_that_is_being_sent_parts_is_moved_when_it_has_them(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as talker, ScriptedClient(cluster.url) as idle:
        await talker.hello()
        await idle.hello()
        await talker.submit(levels=100, width=1, bytes=200_000)
        await talker.hear("part")
        await cluster.start_gateway()
        draining = asyncio.create_task(cluster.gateway_stack.drain())
        await idle.hear("move")
        await idle.leave()
        assert (await talker.hear("result", "move"))["type"] == "result"
        assert (await talker.hear("move"))["url"].startswith("ws://")
        await talker.leave()
        await draining
