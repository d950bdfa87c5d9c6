"""Jobs through the whole system: client, discovery, gateway, broker, lock server, master, worker, and back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from bench.support.scripted_client import ScriptedClient
from bench.support.steps_kind import Steps
from roost.allinone import System, UpSettings, all_in_one
from roost.backend.client_protocol.application import ClientProtocol
from roost.backend.kinds.registry import Kinds
from roost.wire import codes
from tests.system.cluster import until

pytestmark = pytest.mark.slow


async def test_a_job_comes_back_level_by_level(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(levels=3, width=5)
        assert (await client.hear("accepted", "error"))["type"] == "accepted"
        result, parts = await client.result()
        assert (result["id"], result["outcome"], result["parts"]) == ("r1", "done", 3)
        assert parts == [["0", "1", "2", "3", "4"], ["5", "6", "7", "8", "9"], ["10", "11", "12", "13", "14"]]


async def test_p25_a_client_that_asked_to_stream_sees_levels_and_progress_and_no_other_does(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(levels=2, width=3, stream=True)
        assert (await client.hear("level"))["items"] == [0, 1, 2]
        assert (await client.hear("level"))["items"] == [3, 4, 5]
        progress = await client.hear("progress")
        assert progress["done"] <= progress["known"] == 3
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(levels=2, width=3)
        assert [(await client.hear("level", "progress", "part", "result"))["type"] for _ in range(3)] == [
            "part",
            "part",
            "result",
        ]


async def test_many_clients_at_once_each_get_their_own_result(system: System) -> None:
    async def one(width: int) -> int:
        async with ScriptedClient(system.url) as client:
            await client.hello()
            await client.submit(levels=2, width=width)
            return len((await client.result())[1][1])

    assert await asyncio.gather(*map(one, range(1, 41))) == list(range(1, 41))


async def test_clients_that_ask_the_same_share_a_run(system: System, steps: Steps) -> None:
    async with ScriptedClient(system.url) as first, ScriptedClient(system.url) as second:
        for client in (first, second):
            await client.hello()
            await client.submit(width=2, behave="gate", fresh_s=60)
            await client.hear("accepted")
        await steps.runner_made.started.wait()
        steps.runner_made.gate.set()
        results = [await client.result() for client in (first, second)]
    assert [parts for _, parts in results] == [[["0", "1"]], [["0", "1"]]]
    assert results[0][0]["summary"] == results[1][0]["summary"]


async def test_p27_a_kept_answer_is_served_at_once_and_never_accepted(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(width=2, fresh_s=60)
        first = await client.result()
        await client.submit("r2", width=2, fresh_s=60)
        assert (await client.hear("accepted", "part"))["type"] == "part"
        second = await client.result()
        assert second[0]["summary"] == first[0]["summary"]
        await client.submit("r3", width=2, fresh_s=0)
        assert (await client.result())[0]["summary"] != first[0]["summary"]


async def test_a_large_result_reaches_a_slow_reader_whole(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(levels=40, width=1, bytes=190_000)
        _, parts = await client.result()
        assert [len(text) for part in parts for text in part] == [190_000 + len(str(number)) for number in range(40)]


async def test_tasks_that_are_held_back_are_given_again(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(width=3, behave="later")
        assert (await client.result())[1] == [["0", "1", "2"]]


async def test_a_bug_in_a_task_is_recorded_and_the_job_goes_on(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(width=1, behave="raise")
        result, parts = await client.result()
        assert (result["outcome"], parts) == ("done", [["given up: worker error: RuntimeError"]])


async def test_a_bug_in_a_plan_fails_that_job_and_no_other(system: System) -> None:
    async with ScriptedClient(system.url) as client, ScriptedClient(system.url) as other:
        await client.hello()
        await other.hello()
        await client.submit(behave="bad plan")
        failed, _ = await client.result()
        assert (failed["outcome"], failed["failure"]["code"]) == ("failed", "internal")
        await other.submit()
        assert (await other.result())[0]["outcome"] == "done"


async def test_a_failed_job_says_why(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(behave="fail")
        result, _ = await client.result()
        assert (result["outcome"], result["failure"]["message"]) == ("failed", "it was asked to fail")


async def test_p17_a_job_past_its_time_expires_with_the_levels_it_has(system: System, steps: Steps) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(levels=1, width=1, behave="gate", max_seconds=0.2)
        result, parts = await client.result()
        assert (result["outcome"], parts) == ("expired", [[]])


async def test_cancel_brings_what_was_found_and_stops_the_workers(system: System, steps: Steps) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(behave="gate", width=4)
        await steps.runner_made.started.wait()
        await client.say("cancel", id="r1")
        result, _ = await client.result()
        assert result["outcome"] == "cancelled"
        await client.submit("r2")
        assert (await client.result())[0]["outcome"] == "done"


async def test_p10_a_second_live_request_is_busy_and_the_first_goes_on(system: System, steps: Steps) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(behave="gate")
        await client.submit("r2")
        error = await client.hear("error")
        assert (error["id"], error["code"]) == ("r2", "busy")
        await steps.runner_made.started.wait()
        steps.runner_made.gate.set()
        assert (await client.result())[0]["id"] == "r1"


async def test_p3_the_same_id_is_the_same_request_or_an_error(system: System, steps: Steps) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(behave="gate")
        await client.hear("accepted")
        await client.submit(behave="gate")
        await client.hear("accepted")
        await client.submit(behave="gate", width=9)
        assert (await client.hear("error"))["code"] == "conflict"


async def test_a_client_that_comes_back_gets_its_result(system: System, steps: Steps) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(behave="gate")
        await client.hear("accepted")
        await steps.runner_made.started.wait()
        await client.leave()
        steps.runner_made.gate.set()
        await client.connect()
        await client.hello(client.session, epoch=2)
        await client.say("resume", ids=["r1"])
        assert (await client.result())[0]["outcome"] == "done"


async def test_i3_an_acknowledged_result_is_not_sent_again(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit()
        await client.result()
        await client.leave()
        await client.connect()
        await client.hello(client.session, epoch=2)
        await client.say("resume", ids=["r1"])
        assert (await client.hear("expired", "part", "result"))["type"] == "expired"


async def test_i3_a_result_that_is_knocked_for_again_is_sent_once_on_a_connection(system: System) -> None:
    """As after a knock and a sweep at the same time, or an offer that came twice."""
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(width=2)
        await client.result(ack=False)
        requests = cast(ClientProtocol, system.gateway._app).requests
        assert (await requests.sweep()).knocks
        await until(lambda: len(requests._tasks) == 1)  # who sweeps on is all that is left
        await client.say("hello")
        assert (await client.hear("part", "result", "error"))["type"] == "error"


async def test_i2_a_request_id_opens_nobody_elses_result(system: System, steps: Steps) -> None:
    async with ScriptedClient(system.url) as owner, ScriptedClient(system.url) as thief:
        await owner.hello()
        await thief.hello()
        await owner.submit(levels=2)
        await owner.result(ack=False)
        await thief.say("resume", ids=["r1"])
        await thief.submit("mine", width=3)
        result, parts = await thief.result()
        assert (result["id"], parts) == ("mine", [["0", "1", "2"]])


async def test_p2_of_two_connections_of_a_client_the_newer_stays(system: System) -> None:
    async with ScriptedClient(system.url) as old, ScriptedClient(system.url) as new, ScriptedClient(system.url) as late:
        await old.hello(epoch=5)
        await old.submit(behave="gate")
        await old.hear("accepted")
        await new.hello(old.session, epoch=6)
        assert await old.closed() == codes.REPLACED.number
        await new.say("resume", ids=["r1"])
        await new.say("cancel", id="r1")
        assert (await new.result())[0]["outcome"] == "cancelled"
        await late.hello(old.session, epoch=7)


@pytest.mark.parametrize("acknowledged", [False, True])
async def test_i1_a_result_waits_over_a_restart_until_it_is_acknowledged(tmp_path: Path, acknowledged: bool) -> None:
    settings = UpSettings(data=tmp_path / "data")
    async with all_in_one(settings, Kinds([Steps()])) as system, ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(levels=2)
        first = await client.result(ack=acknowledged)
        session = client.session
        if acknowledged:
            await client.submit("r2")
            await client.result()
    async with all_in_one(settings, Kinds([Steps()])) as system, ScriptedClient(system.url) as client:
        await client.hello(session, epoch=2)
        await client.say("resume", ids=["r1"])
        if acknowledged:
            assert (await client.hear("expired", "result"))["type"] == "expired"
        else:
            assert await client.result() == first


async def test_i1_an_accepted_job_goes_on_after_a_restart(tmp_path: Path) -> None:
    settings, before, after = UpSettings(data=tmp_path / "data"), Steps(), Steps()
    async with all_in_one(settings, Kinds([before])) as system, ScriptedClient(system.url) as client:
        await client.hello()
        await client.submit(behave="gate")
        await client.hear("accepted")
        await before.runner_made.started.wait()
        session = client.session
        await client.leave()
        await system.stack.drain()
    async with all_in_one(settings, Kinds([after])) as system, ScriptedClient(system.url) as client:
        after.runner_made.gate.set()
        await client.hello(session, epoch=2)
        await client.say("resume", ids=["r1"])
        assert (await client.result())[0]["outcome"] == "done"


BAD_MESSAGES: dict[str, tuple[Any, str]] = {
    "not JSON": ("hi there", "bad_json"),
    "half JSON": ('{"type": "submit"', "bad_json"),
    "not an object": ("[1, 2]", "bad_message"),
    "no type": ('{"id": "r1"}', "bad_message"),
    "unknown type": ('{"type": "dance"}', "bad_message"),
    "unknown field": ('{"type": "ack", "id": "r1", "force": true}', "bad_message"),
    "missing field": ('{"type": "ack"}', "bad_message"),
    "id not a text": ('{"type": "ack", "id": 7}', "bad_message"),
    "id too long": (json.dumps({"type": "ack", "id": "x" * 65}), "bad_message"),
    "id with NUL": ('{"type": "ack", "id": "a\\u0000b"}', "bad_message"),
    "id a lone surrogate": ('{"type": "ack", "id": "\\ud800"}', "bad_json"),
    "hello twice": ('{"type": "hello"}', "bad_message"),
    "too many ids": (json.dumps({"type": "resume", "ids": ["x"] * 1001}), "bad_message"),
    "nested beyond reason": ('{"type": "ack", "id": ' + "[" * 20_000, "bad_message"),
    "unknown kind": ('{"type": "submit", "id": "r1", "kind": "bake", "spec": {}}', "unknown_kind"),
    "bad spec": ('{"type": "submit", "id": "r1", "kind": "steps", "spec": {"levels": -1}}', "bad_spec"),
    "unknown spec field": ('{"type": "submit", "id": "r1", "kind": "steps", "spec": {"deep": 1}}', "bad_spec"),
    "spec not an object": ('{"type": "submit", "id": "r1", "kind": "steps", "spec": 7}', "bad_spec"),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
async def test_i8_bad_input_gets_its_error_and_the_connection_goes_on(system: System, name: str) -> None:
    text, code = BAD_MESSAGES[name]
    async with ScriptedClient(system.url) as client:
        await client.hello()
        await client.say_text(text)
        error = await client.hear("error")
        assert error["code"] == code
        assert len(error["message"]) > 8
        await client.submit()
        assert (await client.result())[0]["outcome"] == "done"


async def test_hello_comes_first(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.submit()
        assert await client.closed() == codes.HELLO_EXPECTED.number


async def test_p1_a_forged_session_is_refused(system: System) -> None:
    async with ScriptedClient(system.url) as client, ScriptedClient(system.url) as other:
        await other.hello()
        await client.say("hello", session=other.session[:-1] + ("A" if other.session[-1] != "A" else "B"))
        assert (await client.hear("error"))["code"] == "bad_token"
        assert await client.closed() == codes.BAD_SESSION.number


async def test_a_client_that_sends_only_rubbish_is_closed(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.hello()
        for _ in range(20):
            await client.say_text("rubbish")
        assert await client.closed() == codes.TOO_MANY_ERRORS.number


async def test_binary_messages_are_unsupported(system: System) -> None:
    async with ScriptedClient(system.url) as client:
        await client.socket.send_bytes(b"\x00")
        assert await client.closed() == codes.UNSUPPORTED.number
