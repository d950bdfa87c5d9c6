"""The whole system while parts of it die, come back, and clients do what they should not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.support.scripted_client import ScriptedClient
from bench.support.steps_kind import Steps
from roost.allinone import System, UpSettings, all_in_one
from roost.backend.broker import topology
from roost.backend.client_protocol.requests import POLL_S
from roost.backend.kinds.registry import Kinds
from roost.gateway.settings import Settings
from roost.wire.codec import pack
from roost.wire.messages.client import MAX_IDS
from roost.wire.messages.lock import Answer, Attach, Decision, Offer
from tests.system.cluster import Cluster, until

pytestmark = pytest.mark.slow


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path) as cluster:
        await cluster.start_all()
        yield cluster


async def submitted(client: ScriptedClient, cluster: Cluster, **spec: Any) -> None:
    """A job whose first task runs and waits for the gate."""
    await client.hello()
    await client.submit(behave="gate", **spec)
    await client.hear("accepted")
    await cluster.steps.runner_made.started.wait()


# --- parts die and come back -------------------------------------------------------------------------


async def test_a_lock_server_that_comes_back_on_another_port_is_found(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await submitted(client, cluster)
        await cluster.lock.stop()
        await cluster.start_lock()
        cluster.steps.runner_made.gate.set()
        assert (await client.result())[0]["outcome"] == "done"


async def test_p16_a_master_that_is_drained_hands_its_job_on(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await submitted(client, cluster)
        await cluster.start_master()
        await cluster.master_stack.drain()
        assert cluster.master.running() == 0
        await cluster.master_stack.stop()
        cluster.steps.runner_made.gate.set()
        assert (await client.result())[0]["outcome"] == "done"


async def test_i1_a_master_that_dies_is_followed_by_another(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await submitted(client, cluster, levels=2)
        await cluster.master_stack.stop()
        await cluster.start_master()
        cluster.steps.runner_made.gate.set()
        assert (await client.result())[1] == [["0"], ["1"]]


async def test_a_worker_that_dies_has_its_tasks_done_by_another(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await submitted(client, cluster, width=3)
        await cluster.worker.stop()
        await cluster.start_worker()
        await cluster.steps.runner_made.started.wait()
        cluster.steps.runner_made.gate.set()
        assert (await client.result())[1] == [["0", "1", "2"]]


async def test_a_gateway_that_dies_is_replaced_by_another_that_brings_the_result(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await submitted(client, cluster)
        await cluster.start_gateway()
        await cluster.gateway_stack.drain()
        await cluster.gateway_stack.stop()
        await client.connect()
        await client.hello(client.session, epoch=2)
        await client.say("resume", ids=["r1"])
        cluster.steps.runner_made.gate.set()
        assert (await client.result())[0]["outcome"] == "done"


async def test_without_discovery_everything_goes_on(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        await cluster.discovery.stop()
        await client.submit(levels=3)
        assert (await client.result())[0]["outcome"] == "done"


async def test_parts_that_start_before_discovery_are_found_once_it_is_there(tmp_path: Path) -> None:
    async with Cluster(tmp_path) as cluster:
        await cluster.discovery.stop()
        await cluster.start_all()
        await cluster.discovery.start()
        await until(lambda: len(cluster.discovery._table.components()) == 4)
        async with ScriptedClient(cluster.url) as client:
            await client.hello()
            await client.submit()
            assert (await client.result())[0]["outcome"] == "done"


async def test_p7_an_offer_that_died_in_its_queue_becomes_an_outcome(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        owner = cluster.keys.read_session(client.session, 0.0).client
        await client.say("resume", ids=["r1"])
        spec = cluster.steps.pack_spec(cluster.steps.parse_spec(b"{}"))
        offer = Offer(owner, "r1", cluster.gateway.incarnation, 1, "steps", spec, b"run", 60.0, 3600.0)
        broker = cluster.engines.broker()
        await broker.start()
        await broker.publish(topology.JOBS_DEAD.name, b"\xc1 rubbish")
        queue = topology.job_offers(1.0)
        dying = type(queue)("dying", ttl_s=0.001, dead_letters=topology.JOBS_DEAD.name)
        await broker.declare(dying)
        await broker.publish(dying.name, pack(offer))
        result, _ = await client.result()
        assert (result["id"], result["outcome"]) == ("r1", "expired")
        await broker.stop()


async def test_a_start_that_fails_half_way_leaves_nothing_running(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = UpSettings(data=tmp_path, gateway_port=taken.getsockname()[1])
        system = System(settings, Kinds([Steps()]))
        with pytest.raises(OSError, match="in use"):
            await system.stack.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    async with all_in_one(UpSettings(data=tmp_path), Kinds([Steps()])) as again, ScriptedClient(again.url) as client:
        await client.hello()
        await client.submit()
        assert (await client.result())[0]["outcome"] == "done"


async def test_stopping_twice_is_fine_and_leaves_nothing_running() -> None:
    system = System(UpSettings(gateway=Settings(drain_s=0.5)), Kinds([Steps()]))
    await system.stack.start()
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(behave="gate")
        await client.hear("accepted")
        await system.stack.drain()
        await system.stack.stop()
        await system.stack.stop()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- clients come and go -----------------------------------------------------------------------------


async def test_a_request_submitted_again_over_a_new_connection_is_answered_there(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client, ScriptedClient(cluster.url) as back:
        await submitted(client, cluster)
        await back.hello(client.session, epoch=2)
        await back.submit(behave="gate")
        await back.hear("accepted")
        cluster.steps.runner_made.gate.set()
        assert (await back.result())[0]["outcome"] == "done"


async def test_p26_a_client_that_resumes_in_the_moment_its_old_connection_ends_is_not_taken_for_away(
    cluster: Cluster,
) -> None:
    async with ScriptedClient(cluster.url) as client, ScriptedClient(cluster.url) as back:
        await submitted(client, cluster)
        await back.say("hello", session=client.session, epoch=2)
        await back.say("resume", ids=["r1"])
        await back.hear("welcome")
        await client.closed()
        cluster.steps.runner_made.gate.set()
        assert (await back.result())[0]["outcome"] == "done"


async def test_p12_a_knock_that_overtakes_the_answer_to_a_resume_finds_its_client(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is present is noted before the mailbox is asked for: what ends in between would wait for a sweep."""
    asking, told = cluster.ingress().requests._decisions, asyncio.Event()
    decide = asking._commit

    async def answered_late(decisions: list[Decision]) -> list[Answer]:
        answers = await decide(decisions)
        if any(isinstance(decision, Attach) for decision in decisions):
            cluster.steps.runner_made.gate.set()
            await told.wait()
        return answers

    monkeypatch.setattr(asking, "_commit", answered_late)
    async with ScriptedClient(cluster.url) as client, ScriptedClient(cluster.url) as back:
        await submitted(client, cluster)
        client.abort()
        await back.hello(client.session, epoch=2)
        await back.say("resume", ids=["r1"])
        async with asyncio.timeout(POLL_S / 2):
            result, _ = await back.result()
        told.set()
        assert result["outcome"] == "done"


async def test_a_client_that_leaves_while_its_result_is_sent_leaves_nothing_behind(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        await client.submit(levels=40, width=1, bytes=190_000)
        await client.hear("part")
        client.abort()
        await client.connect()
        await client.hello(client.session, epoch=2)
        await client.say("resume", ids=["r1"])
        assert len((await client.result())[1]) == 40
        await client.understood()
        requests = cluster.ingress().requests
        assert len(requests.live) == 0
        assert not requests.drains._waiting


async def test_resuming_on_a_connection_that_is_already_gone_leaves_nothing_behind(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client, ScriptedClient(cluster.url) as other:
        await client.hello()
        await client.say("resume", ids=[f"r{number}" for number in range(50)])
        await client.say("cancel", id="r7")
        client.abort()
        await other.hello()
        await other.submit(levels=3)
        await other.result()
        await other.understood()
        assert len(cluster.ingress().requests.live) == 0


async def test_p12_a_request_nobody_knows_is_submitted_again_and_done(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        await client.say("resume", ids=["r1"])
        requests = cluster.ingress().requests
        while not (await requests.sweep()).unknown:
            await client.understood()
        await client.hear("unknown")
        await client.say("submit", id="r1", kind="steps", spec={"behave": "gate"}, again=True)
        await client.hear("accepted")
        await cluster.steps.runner_made.started.wait()
        cluster.steps.runner_made.gate.set()
        assert (await client.result())[0]["outcome"] == "done"


async def test_p12_what_was_resumed_in_vain_can_be_submitted(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        await client.say("resume", ids=["r1"])
        await client.submit()
        assert (await client.result())[0]["outcome"] == "done"


async def test_p26_who_left_before_the_request_was_stored_is_not_swept_for_ever(cluster: Cluster) -> None:
    await cluster.master_stack.stop()
    requests = cluster.ingress().requests
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        await client.submit()
        await client.hear("accepted")
        client.abort()
        await until(lambda: not len(requests.live))
        _, master = await cluster.start_master()
        await until(lambda: master.ended_count == 1)
        assert len((await requests.sweep()).knocks) == 1
        async with asyncio.timeout(20):
            while (await requests.sweep()).knocks:
                pass
        await client.connect()
        await client.hello(client.session, epoch=2)
        await client.say("resume", ids=["r1"])
        assert (await client.result())[0]["outcome"] == "done"


# --- clients misbehave -------------------------------------------------------------------------------


async def test_p3_an_id_that_is_used_up_is_answered_as_taken(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        await client.submit()
        await client.result()
        await client.submit()
        error = await client.hear("error", "result")
        assert (error["id"], error["code"]) == ("r1", "conflict")


async def test_p3_again_does_not_make_another_spec_the_same_request(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await submitted(client, cluster)
        await client.say("submit", id="r1", kind="steps", spec={"width": 5}, again=True)
        assert (await client.hear("error"))["code"] == "conflict"
        cluster.steps.runner_made.gate.set()
        assert (await client.result())[1] == [["0"]]


async def test_a_request_asked_again_and_again_does_not_hold_its_connection_for_ever(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await submitted(client, cluster)
        for _ in range(3):
            await client.say("submit", id="r1", kind="steps", spec={"behave": "gate"}, again=True)
            await client.hear("accepted")
        assert sum(cluster.gateway.writer.slots.idle_holds) == 1
        cluster.steps.runner_made.gate.set()
        await client.result()
        assert sum(cluster.gateway.writer.slots.idle_holds) == 0


async def test_an_acknowledgement_in_the_middle_of_a_result_stops_it(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        await client.submit(levels=40, width=1, bytes=190_000)
        await client.hear("part")
        await client.say("ack", id="r1")
        await client.submit("r2")
        assert (await client.hear("result"))["id"] == "r2"
        assert sum(cluster.gateway.writer.slots.idle_holds) == 0


async def test_p10_acknowledging_what_is_not_finished_gives_it_up(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client:
        await submitted(client, cluster)
        await client.say("ack", id="r1")
        await client.submit("r2")
        assert (await client.result())[0]["id"] == "r2"
        await until(lambda: cluster.master.running() == 0)


async def test_i8_a_client_that_resumes_everything_again_and_again_harms_nobody(cluster: Cluster) -> None:
    async with ScriptedClient(cluster.url) as client, ScriptedClient(cluster.url) as other:
        await client.hello()
        await other.hello()
        ids = [f"r{number}" for number in range(900)]
        for _ in range(300):
            await client.say("resume", ids=ids)
        await other.submit()
        assert (await other.result())[0]["outcome"] == "done"
        assert (await client.hear("error"))["code"] == "overloaded"


@pytest.mark.parametrize("flood", ["resume", "ack", "cancel"])
async def test_i8_a_flood_of_questions_is_answered_and_harms_nobody(cluster: Cluster, flood: str) -> None:
    async with ScriptedClient(cluster.url) as client, ScriptedClient(cluster.url) as other:
        await client.hello()
        await other.hello()
        for number in range(2000):
            more = {"ids": [f"r{number}"]} if flood == "resume" else {"id": f"r{number}"}
            await client.say(flood, **more)
        await other.submit()
        assert (await other.result())[0]["outcome"] == "done"
        assert (await client.hear("error"))["code"] == "overloaded"
        assert cluster.ingress().requests.live.count(b"") <= MAX_IDS
        assert len(cluster.ingress().requests.live) <= MAX_IDS


@pytest.mark.parametrize("spec", [{"width": 3, "bytes": 150_000}, {"behave": "talk"}, {"behave": "bad fold"}])
async def test_a_kind_that_makes_too_much_or_breaks_fails_its_job_only(cluster: Cluster, spec: dict[str, Any]) -> None:
    async with ScriptedClient(cluster.url) as client:
        await client.hello()
        await client.submit(**spec)
        result, _ = await client.result()
        assert (result["outcome"], result["failure"]["code"]) == ("failed", "internal")
        await client.submit("r2")
        assert (await client.result())[0]["outcome"] == "done"
