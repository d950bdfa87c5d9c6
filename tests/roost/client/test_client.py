"""The client over real sockets: real discovery, a gateway that follows a script."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

import roost
from roost.client.client import Client
from roost.client.request import JobResult, LevelFound, Progress
from roost.discovery.server import Discovery
from roost.errors import Busy, Closed, JobFailed, Unreachable
from roost.wire import codes
from roost.wire.errors import BadInput, Misuse
from roost.wire.messages import client as protocol
from roost.wire.messages.outcome import Failure, Outcome
from tests.roost.gateway import Conversation, ScriptedGateway

DONE = JobResult(Outcome.DONE, ["a", "b"], {"n": 1})


@contextlib.asynccontextmanager
async def met(gateway: ScriptedGateway, **options: Any) -> AsyncIterator[tuple[Client, Conversation]]:
    """A client that was welcomed by the gateway, directly."""
    async with asyncio.TaskGroup() as tasks:
        meeting = tasks.create_task(gateway.meet())
        greeting = tasks.create_task(_greet(meeting))
        async with roost.connect(gateway.url, **options) as client:
            await greeting
            yield client, meeting.result()


async def _greet(meeting: asyncio.Task[Conversation]) -> None:
    await (await meeting).welcome()


async def accepted(client: Client, conversation: Conversation, **options: Any) -> roost.Request:
    """A request that the gateway has accepted."""
    request = client.submit("kind", {"a": 1}, **options)
    submit = await conversation.hear(protocol.Submit)
    assert (submit.id, submit.kind, bytes(submit.spec)) == (request.id, "kind", b'{"a":1}')
    await conversation.say(protocol.Accepted(request.id))
    return request


async def test_it_asks_discovery_and_brings_its_ticket(discovery: Discovery, gateway: ScriptedGateway) -> None:
    await gateway.register(discovery.url)
    connecting = asyncio.create_task(roost.connect(discovery.url).__aenter__())
    conversation = await gateway.meet()
    assert conversation.ticket.startswith("t.test.")
    hello = await conversation.welcome()
    assert hello.session is None
    client = await connecting
    await client.close()
    await conversation.over.wait()


async def test_a_result_in_parts_comes_back_and_is_acknowledged(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        await conversation.say_result(request.id, b'"a"', b'"b"')
        assert await request.result() == DONE
        assert await request.result() == DONE
        assert (await conversation.hear(protocol.Ack)).id == request.id


async def test_events_come_in_order_and_end_with_the_request(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation, stream=True)
        level = protocol.Level(request.id, 0, 0, Raw(b'["u"]'))
        await conversation.say(protocol.Progress(request.id, 0, 1, 2), level, level)
        await conversation.say_result(request.id)
        assert [event async for event in request.events()] == [Progress(0, 1, 2), LevelFound(0, 0, ["u"])]


async def test_after_a_break_the_client_comes_back_with_its_session_and_a_greater_epoch_and_resumes(
    gateway: ScriptedGateway,
) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        await conversation.say(protocol.Part(request.id, 0, Raw(b'"a"')))
        conversation.cut()
        again = await gateway.meet()
        hello = await again.welcome()
        assert hello.session == "session-1"
        assert (await again.hear(protocol.Resume)).ids == [request.id]
        await again.say_result(request.id, b'"a"', b'"b"')
        assert await request.result() == DONE


async def test_what_is_submitted_while_there_is_no_connection_goes_out_when_there_is(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        await conversation.close(codes.IDLE)
        request = client.submit("kind", {})
        again = await gateway.meet()
        await again.welcome()
        assert (await again.hear(protocol.Submit)).id == request.id
        await again.say_result(request.id)
        await request.result()


async def test_closed_as_idle_it_stays_away_until_there_is_work(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        await conversation.close(codes.IDLE)
        await conversation.over.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await gateway.meet()
        client.submit("kind", {})
        await (await gateway.meet()).welcome()


@pytest.mark.parametrize("close", [codes.SLOW, codes.NO_PONG, codes.MOVED, codes.OVERLOADED, codes.INTERNAL])
async def test_every_close_that_means_come_back_is_followed_by_a_resume(
    gateway: ScriptedGateway, close: codes.Close
) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        await conversation.close(close)
        again = await gateway.meet()
        await again.welcome()
        assert (await again.hear(protocol.Resume)).ids == [request.id]


async def test_a_close_for_good_ends_every_request_and_the_client(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        await conversation.close(codes.REPLACED)
        with pytest.raises(Closed, match="replaced by a newer connection") as caught:
            await request.result()
        assert caught.value.close_code == codes.REPLACED.number
        with pytest.raises(Closed):
            client.submit("kind", {})


async def test_a_refused_session_is_dropped_and_the_request_asked_anew(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        conversation.cut()
        refusing = await gateway.meet()
        await refusing.hear(protocol.Hello)
        await refusing.close(codes.BAD_SESSION)
        again = await gateway.meet()
        assert (await again.welcome("session-2")).session is None
        assert (await again.hear(protocol.Submit)).id == request.id


async def test_a_client_refused_without_a_session_gives_up(gateway: ScriptedGateway) -> None:
    connecting = asyncio.create_task(roost.connect(gateway.url).__aenter__())
    conversation = await gateway.meet()
    await conversation.close(codes.BAD_SESSION)
    with pytest.raises(Closed, match="session refused"):
        await connecting


async def test_p29_a_move_is_made_before_the_old_connection_is_left(gateway: ScriptedGateway) -> None:
    """P29: open the new one, resume there, close the old one."""
    other = ScriptedGateway("g2")
    await other.start()
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        await conversation.say(protocol.Part(request.id, 0, Raw(b'"a"')))
        await conversation.say(protocol.Move(other.url, "a-ticket", 0))
        moved = await other.meet()
        assert moved.ticket == "a-ticket"
        assert not conversation.over.is_set()
        await moved.welcome()
        assert (await moved.hear(protocol.Resume)).ids == [request.id]
        async with asyncio.timeout(10):
            await conversation.over.wait()
        await moved.say_result(request.id, b'"a"', b'"b"')
        assert await request.result() == DONE
    await other.stop()


async def test_a_move_to_a_gateway_that_is_gone_keeps_the_client_where_it_is(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        await conversation.say(protocol.Move("ws://127.0.0.1:1/", "t", 0))
        await conversation.say_result(request.id, b'"a"', b'"b"')
        assert await request.result() == DONE


async def test_after_a_move_that_failed_the_next_one_is_followed(gateway: ScriptedGateway) -> None:
    other = ScriptedGateway("g2")
    await other.start()
    async with met(gateway) as (_, conversation):
        other.refuse_with = 403
        await conversation.say(protocol.Move(other.url, "stale", 0))
        await other.refused.wait()
        other.refuse_with = 0
        moving = asyncio.create_task(other.meet())
        while not moving.done():
            await conversation.say(protocol.Move(other.url, "t", 0))
            await asyncio.sleep(0.01)
        await (await moving).welcome()
    await other.stop()


async def test_a_gateway_that_closes_before_the_move_was_due_is_left_at_once(gateway: ScriptedGateway) -> None:
    other = ScriptedGateway("g2")
    await other.start()
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        await conversation.say(protocol.Move(other.url, "t", 3_600_000))
        await conversation.close(codes.MOVED)
        moved = await other.meet()
        await moved.welcome()
        assert (await moved.hear(protocol.Resume)).ids == [request.id]
    await other.stop()


async def test_an_alternate_is_tried_when_the_best_gateway_does_not_let_in(
    discovery: Discovery, gateway: ScriptedGateway
) -> None:
    full = ScriptedGateway("full")
    full.refuse_with = 503
    await full.start()
    await full.register(discovery.url, load=0)
    await gateway.register(discovery.url, load=50)
    connecting = asyncio.create_task(roost.connect(discovery.url).__aenter__())
    await (await gateway.meet()).welcome()
    await (await connecting).close()
    await full.stop()


async def test_the_next_replica_of_discovery_is_asked_when_one_is_away(
    discovery: Discovery, gateway: ScriptedGateway
) -> None:
    await gateway.register(discovery.url)
    connecting = asyncio.create_task(roost.connect(["http://127.0.0.1:1", discovery.url]).__aenter__())
    await (await gateway.meet()).welcome()
    await (await connecting).close()


async def test_discovery_without_room_is_asked_again_until_there_is(
    discovery: Discovery, gateway: ScriptedGateway
) -> None:
    connecting = asyncio.create_task(roost.connect(discovery.url).__aenter__())
    await asyncio.sleep(0)
    await gateway.register(discovery.url)
    await (await gateway.meet()).welcome()
    await (await connecting).close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ws://127.0.0.1:1"])
async def test_nobody_there_is_unreachable_with_a_reason(url: str) -> None:
    with pytest.raises(Unreachable, match="connection refused"):
        await roost.connect(url, connect_within_s=0.1).__aenter__()


async def test_a_server_that_is_something_else_is_unreachable_with_a_reason(gateway: ScriptedGateway) -> None:
    with pytest.raises(Unreachable, match=r"answered 404: is this Roost's discovery\?"):
        await roost.connect(gateway.url.replace("ws:", "http:"), connect_within_s=0.5).__aenter__()


@pytest.mark.parametrize("url", ["", "ftp://h", "http://", "http://[", "http://h:99999"])
async def test_an_unusable_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadInput, match="write the server as"):
        await roost.connect(url).__aenter__()


async def test_a_failed_job_raises_with_what_was_found(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        failure = Failure("unreachable", "nothing answers there")
        await conversation.say(protocol.Part(request.id, 0, Raw(b"1")))
        await conversation.say(protocol.Result(request.id, Outcome.FAILED, 1, failure=failure))
        with pytest.raises(JobFailed, match="nothing answers there") as caught:
            await request.result()
        assert caught.value.code == "unreachable"
        assert caught.value.result == JobResult(Outcome.FAILED, [1])


async def test_a_crawl_that_ended_before_it_began_still_has_a_result(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = client.submit("crawl", {"url": "https://a.example/", "depth": 2})
        await conversation.hear(protocol.Submit)
        await request.cancel()
        await conversation.hear(protocol.Cancel)
        await conversation.say(protocol.Result(request.id, Outcome.CANCELLED, 0))
        result = await request.result()
    assert (result.url, result.depth, result.outcome, result.levels) == ("https://a.example/", 2, "cancelled", [])


async def test_busy_is_raised_with_a_time_or_waited_out(gateway: ScriptedGateway) -> None:
    busy = protocol.Error("busy", "one at a time", None, 0.01)
    async with met(gateway) as (client, conversation):
        request = client.submit("kind", {})
        submit = await conversation.hear(protocol.Submit)
        await conversation.say(protocol.Error(busy.code, busy.message, submit.id, 0.01))
        with pytest.raises(Busy, match="one at a time") as caught:
            await request.result()
        assert caught.value.retry_after_s == 0.01
    async with met(gateway, wait=True) as (client, conversation):
        request = client.submit("kind", {})
        submit = await conversation.hear(protocol.Submit)
        await conversation.say(protocol.Error(busy.code, busy.message, submit.id, 0.01))
        assert (await conversation.hear(protocol.Submit)).id == submit.id
        await conversation.say_result(submit.id, b'"a"', b'"b"')
        assert await request.result() == DONE


async def test_messages_of_a_later_version_and_noise_are_passed_over(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
        for text in ('{"type":"news of 2030"}', "not json", "{}", "[1]"):
            await conversation.say_text(text)
        await conversation.say_result(request.id, b'"a"', b'"b"')
        assert await request.result() == DONE


async def test_leaving_the_block_gives_up_what_has_not_ended(gateway: ScriptedGateway) -> None:
    async with met(gateway) as (client, conversation):
        request = await accepted(client, conversation)
    assert (await conversation.hear(protocol.Cancel)).id == request.id
    await conversation.over.wait()
    with pytest.raises(Closed, match="the client is closed"):
        await request.result()


async def test_a_session_file_makes_the_next_run_the_same_client_that_resumes(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    path = tmp_path / "session"
    async with met(gateway, session_file=path) as (client, conversation):
        await accepted(client, conversation, id="mine")
    await conversation.over.wait()
    assert path.stat().st_mode & 0o777 == 0o600
    connecting = asyncio.create_task(roost.connect(gateway.url, session_file=path).__aenter__())
    again = await gateway.meet()
    hello = await again.welcome()
    assert hello.session == "session-1"
    client = await connecting
    request = client.resume("mine", "kind")
    assert (await again.hear(protocol.Resume)).ids == ["mine"]
    await again.say_result("mine", b'"a"', b'"b"')
    assert await request.result() == DONE
    await client.close()
    assert os.listdir(tmp_path) == [path.name]


async def test_requests_without_any_connection_for_too_long_are_told_and_the_client_can_be_used_again(
    gateway: ScriptedGateway,
) -> None:
    async with met(gateway, patience_s=0.0) as (client, conversation):
        request = await accepted(client, conversation)
        gateway.refuse_with = 500
        conversation.cut()
        with pytest.raises(Unreachable):
            await request.result()
        gateway.refuse_with = 0
        other = client.submit("kind", {})
        again = await gateway.meet()
        await again.welcome()
        assert (await again.hear(protocol.Submit)).id == other.id


async def test_misuse_is_told_at_once(gateway: ScriptedGateway) -> None:
    with pytest.raises(Misuse, match="async with"):
        roost.connect(gateway.url).submit("kind", {})
    async with met(gateway) as (client, _):
        client.submit("kind", {}, id="same")
        with pytest.raises(Misuse, match="choose a new id"):
            client.submit("kind", {}, id="same")
        for bad in (" ", "é", "x" * 65):
            with pytest.raises(BadInput, match="visible ASCII"):
                client.submit("kind", {}, id=bad)
        with pytest.raises(BadInput, match="JSON values"):
            client.submit("kind", {"a": object()})


async def test_importing_the_package_loads_no_client() -> None:
    import subprocess
    import sys

    code = "import roost, sys; print('aiohttp' in sys.modules, roost.connect.__name__, 'aiohttp' in sys.modules)"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "connect", "True"], done.stderr
