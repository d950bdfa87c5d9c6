"""Clients beside one another: none stands for another, and none waits for the whole of another's work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.support.scripted_client import ScriptedClient
from bench.support.steps_kind import Steps
from roost.allinone import System
from roost.backend.broker import topology
from roost.backend.master.job_run import MOST_OUT
from roost.wire.messages.lock import read_offer
from tests.backend.broker.contract_broker import Inbox
from tests.system.cluster import Cluster

pytestmark = pytest.mark.slow

ROUNDS = 6
"""A task waits behind those that are out, in the queue and in hand, and for news on the way there and back."""


async def test_p20_a_page_beside_a_job_of_a_hundred_thousand_ends_after_a_few_rounds(
    system: System, steps: Steps
) -> None:
    """The large job has never more out than one worker takes at a time, so that is what a small one waits for."""
    async with ScriptedClient(system.url) as large, ScriptedClient(system.url) as small:
        await large.hello()
        await large.submit(levels=1, width=100_000, behave="slow")
        await large.hear("accepted")
        await steps.runner_made.started.wait()
        for number in range(3):
            if number == 0:
                await small.hello()
            before = steps.runner_made.begun_count
            await small.submit(f"r{number}", levels=1, width=1)
            assert (await small.result())[0]["outcome"] == "done"
            assert steps.runner_made.begun_count - before <= ROUNDS * MOST_OUT
        await large.say("cancel", id="r1")
        assert (await large.result())[0]["outcome"] == "cancelled"
    assert 0 < steps.runner_made.begun_count < 100_000


async def test_p4_clients_that_ask_the_same_are_each_offered_by_themselves(tmp_path: Path) -> None:
    """A gateway that let one stand for another would lose the other's request with the first one's."""
    async with Cluster(tmp_path) as cluster:
        await cluster.start_lock()
        await cluster.start_gateway()
        offers, broker = Inbox(), cluster.engines.broker()
        await broker.start()
        await broker.consume(topology.job_offers(cluster.site.limits.retention_s).name, offers, 2)
        async with ScriptedClient(cluster.url) as one, ScriptedClient(cluster.url) as other:
            for client in (one, other):
                await client.hello()
                await client.submit(width=2, fresh_s=60)
                await client.hear("accepted")
            told = [read_offer((await offers.next()).body) for _ in range(2)]
        assert len({offer.client for offer in told}) == 2
        assert len({offer.run_key for offer in told}) == 1
        await broker.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
