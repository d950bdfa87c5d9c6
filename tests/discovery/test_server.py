"""Discovery over real HTTP."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from typing import Any

import aiohttp
import pytest

from roost.discovery.core.table import INTERVAL_S
from roost.discovery.heartbeats import MAX_BEAT_BYTES
from roost.discovery.server import YOUNG_BEATS, Discovery
from roost.wire.codec import pack
from roost.wire.messages.registry import (
    Beat,
    BeatAnswer,
    ComponentKind,
    read_assignment,
    read_beat_answer,
)
from roost.wire.tokens import Keyring
from tests.discovery.beats import make_beat
from tests.discovery.conftest import SECRET
from tests.gateway.harness import TickClock


async def send(http: aiohttp.ClientSession, beat: Beat) -> BeatAnswer:
    async with http.post("/v1/beat", data=pack(beat), headers=SECRET.headers()) as response:
        assert response.status == 200, await response.text()
        return read_beat_answer(await response.read())


async def get_json(http: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    async with http.get(path) as response:
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        return await response.json()


async def test_a_client_is_given_the_gateway_with_most_room_and_tickets_that_each_open_one(
    http: aiohttp.ClientSession, keyring: Keyring
) -> None:
    for name, load in (("g1", 20), ("g2", 10), ("g3", 30), ("g4", 40)):
        await send(http, make_beat(name, load=load))
    async with http.get("/v1/gateway") as response:
        assignment = read_assignment(await response.read())
    assert assignment.url == "ws://g2:9001"
    others = [choice.url.removeprefix("ws://").removesuffix(":9001") for choice in assignment.alternates]
    assert len(others) == 2
    assert set(others) < {"g1", "g3", "g4"}
    now = time.time()
    ticket = keyring.read_ticket(assignment.ticket, now, "g2")
    assert now < ticket.expires <= now + assignment.expires_s
    for choice, name in zip(assignment.alternates, others, strict=True):
        assert keyring.read_ticket(choice.ticket, now, name).serial == ticket.serial


async def test_a_client_is_given_gateways_of_its_zone_first_and_others_where_there_are_none(
    http: aiohttp.ClientSession,
) -> None:
    await send(http, make_beat("g1", load=50, labels={"zone": "a"}))
    await send(http, make_beat("g2", labels={"zone": "b"}))
    answer = await get_json(http, "/v1/gateway?zone=a")
    assert (answer["url"], answer["alternates"][0]["url"]) == ("ws://g1:9001", "ws://g2:9001")
    assert (await get_json(http, "/v1/gateway?zone=c"))["url"] == "ws://g2:9001"
    for hostile in ("zone=" + "a" * 65, "&".join(f"n{number}=v" for number in range(17)), "zone=%00", "=a"):
        assert (await get_json(http, f"/v1/gateway?{hostile}", 400))["code"] == "bad_message"


async def test_askers_at_the_same_time_are_spread_evenly(http: aiohttp.ClientSession) -> None:
    for name in ("g1", "g2", "g3"):
        await send(http, make_beat(name))
    answers = await asyncio.gather(*(get_json(http, "/v1/gateway") for _ in range(60)))
    assert set(Counter(answer["url"] for answer in answers).values()) == {20}
    assert len({answer["ticket"] for answer in answers}) == 60


async def test_without_room_the_answer_is_503_with_a_time_to_come_back(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/gateway") as response:
        assert response.status == 503
        assert 1 <= int(response.headers["Retry-After"]) <= 60
        problem = await response.json()
    assert problem["code"] == "overloaded"
    assert "has just started" in problem["message"]


async def test_who_finds_nobody_is_told_why(keyring: Keyring) -> None:
    clock = TickClock()
    discovery = Discovery("127.0.0.1", 0, keyring, secret=SECRET, clock=clock)
    await discovery.start()
    async with aiohttp.ClientSession(discovery.url) as http:
        assert "has just started" in (await get_json(http, "/v1/gateway", 503))["message"]
        clock.now_s += YOUNG_BEATS * INTERVAL_S
        assert "no gateway is known" in (await get_json(http, "/v1/gateway", 503))["message"]
        await send(http, make_beat("g1", load=100, capacity=100))
        assert "no gateway has free capacity" in (await get_json(http, "/v1/gateway", 503))["message"]
    await discovery.stop()


async def test_a_beat_is_answered_with_its_sequence_the_interval_and_the_live_lock_servers(
    http: aiohttp.ClientSession,
) -> None:
    await send(http, make_beat("l1", kind=ComponentKind.LOCK, address="http://127.0.0.1:7001"))
    answer = await send(http, make_beat("m1", 5, kind=ComponentKind.MASTER, address=""))
    assert answer == BeatAnswer(5, 1.0, ["http://127.0.0.1:7001"])


async def test_p32_a_worker_is_told_of_all_workers_that_live_and_do_not_leave(http: aiohttp.ClientSession) -> None:
    for name, leaves in (("w1", False), ("w2", True)):
        await send(http, make_beat(name, kind=ComponentKind.WORKER, address="", draining=leaves))
    assert (await send(http, make_beat("w3", kind=ComponentKind.WORKER, address=""))).workers == ["w1", "w3"]


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer ", "Bearer é", SECRET.value])
async def test_a_beat_without_the_secret_is_refused_and_changes_nothing(
    http: aiohttp.ClientSession, authorization: str
) -> None:
    async with http.post("/v1/beat", data=pack(make_beat()), headers={"Authorization": authorization}) as response:
        assert response.status == 401
        assert (await response.json())["code"] == "bad_token"
    assert (await get_json(http, "/v1/components"))["components"] == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "not a valid beat"),
        (b"\xc1", "not a valid beat"),
        (b"{}", "not a valid beat"),
        (pack(make_beat())[:-1], "not a valid beat"),
        (pack({"kind": "gateway"}), "not a valid beat"),
        (pack([*("alien", "i", 1, "ws://a", 1, 1)]), "not a valid beat"),
        (pack(make_beat(capacity=-1)), "capacity"),
        (pack(make_beat(load=-1)), "load"),
        (pack(make_beat(load=2**62)), "load"),
        (pack(make_beat("")), "incarnation"),
        (pack(make_beat("x" * 65)), "incarnation"),
        (pack(make_beat(sequence=0)), "sequence"),
        (pack(make_beat(address="http://not-a-websocket")), "address"),
        (pack(make_beat(address="")), "address"),
        (pack(make_beat(address="ws://a\r\nX: y")), "address"),
        (pack(make_beat(redeemed=[b""])), "redeemed"),
        (pack(make_beat(redeemed=[b"x" * 33])), "redeemed"),
        (pack(make_beat(counters={str(n): 0.0 for n in range(101)})), "counters"),
        (pack(make_beat(version="v" * 65)), "version"),
        (pack(make_beat(labels={"": "a"})), "labels"),
        (pack(make_beat(labels={"zone": "a" * 65})), "labels"),
        (pack(make_beat(labels={str(n): "" for n in range(17)})), "labels"),
        (pack(make_beat(replicas=0)), "replicas"),
    ],
)
async def test_a_bad_beat_is_told_what_is_wrong_and_changes_nothing(
    http: aiohttp.ClientSession, body: bytes, named: str
) -> None:
    async with http.post("/v1/beat", data=body, headers=SECRET.headers()) as response:
        problem = await response.json()
        assert (response.status, problem["code"]) == (400, "bad_message")
        assert named in problem["message"]
    assert (await get_json(http, "/v1/components"))["components"] == []


async def test_a_beat_over_the_size_limit_is_refused(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/beat", data=io.BytesIO(bytes(MAX_BEAT_BYTES + 1)), headers=SECRET.headers()) as response:
        assert (response.status, (await response.json())["code"]) == (413, "too_big")


async def test_components_are_listed_as_people_see_them_and_without_secrets(http: aiohttp.ClientSession) -> None:
    await send(http, make_beat("g1", load=3, lag_ms=1.5, version="0.1", counters={"sent": 7.0}))
    await get_json(http, "/v1/gateway")
    async with http.get("/v1/components") as response:
        text = await response.text()
        (component,) = (await response.json())["components"]
    assert SECRET.value not in text
    assert component.items() >= {
        "kind": "gateway", "incarnation": "g1", "address": "ws://g1:9001", "capacity": 100, "load": 3, "reserved": 1,
        "lag_ms": 1.5, "version": "0.1", "draining": False, "counters": {"sent": 7.0},
    }.items()  # fmt: skip


async def test_a_figure_that_json_cannot_hold_does_not_break_the_list(http: aiohttp.ClientSession) -> None:
    await send(http, make_beat("g1", lag_ms=float("nan"), counters={"x": float("inf")}))
    (component,) = (await get_json(http, "/v1/components"))["components"]
    assert component["lag_ms"] is None


async def test_a_connection_that_asks_nothing_is_closed_and_one_that_asked_may_stay(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.discovery.connection_limiter.HEAD_S", 0.0)
    port = int(discovery.url.rpartition(":")[2])
    silent, slow, steady = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    async with asyncio.timeout(10):
        await health(*steady)
        slow[1].write(b"GET /v1/comp")
        for reader, _ in (silent, slow):
            assert await reader.read() == b""
        await health(*steady)
    for _, writer in (silent, slow, steady):
        writer.close()


async def test_whoever_asks_is_answered_although_more_connect_than_may_and_say_nothing(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.discovery.connection_limiter.MAX_SILENT", 4)
    monkeypatch.setattr("roost.discovery.connection_limiter.SILENT_S", 0.0)
    port = int(discovery.url.rpartition(":")[2])
    steady = await asyncio.open_connection("127.0.0.1", port)
    await health(*steady)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
    async with asyncio.timeout(10):
        await health(*steady)
        late = await asyncio.open_connection("127.0.0.1", port)
        await health(*late)
    for _, writer in (*silent, steady, late):
        writer.close()


async def test_no_place_is_kept_for_a_client_that_gave_up_before_its_turn(
    discovery: Discovery, http: aiohttp.ClientSession
) -> None:
    await send(http, make_beat("g1"))
    port = int(discovery.url.rpartition(":")[2])
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/gateway HTTP/1.1\r\nHost: test\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    await get_json(http, "/v1/gateway")
    (component,) = (await get_json(http, "/v1/components"))["components"]
    assert component["reserved"] == 1


async def health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask on this connection, and keep it."""
    writer.write(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(3) == b"ok\n"


async def test_a_client_that_was_answered_is_not_kept_connected(http: aiohttp.ClientSession) -> None:
    for _ in range(2):
        async with http.get("/v1/gateway") as response:
            assert response.headers["Connection"] == "close"
        await send(http, make_beat())


async def test_unknown_paths_and_methods_are_answered_in_json(http: aiohttp.ClientSession) -> None:
    assert (await get_json(http, "/nowhere", 404))["code"] == "not_found"
    async with http.delete("/v1/gateway") as response:
        assert (response.status, (await response.json())["code"]) == (405, "method_not_allowed")


async def test_the_root_says_what_this_is_and_health_answers(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as response:
        assert "Roost discovery" in await response.text()
    for path, text in (("/health", "ok"), ("/ready", "ready"), ("/metrics", "roost_discovery_beats")):
        async with http.get(path) as response:
            assert text in await response.text()


async def test_while_it_drains_it_is_not_ready_but_answers(discovery: Discovery, http: aiohttp.ClientSession) -> None:
    await send(http, make_beat())
    await discovery.drain()
    async with http.get("/ready") as response:
        assert response.status == 503
    assert (await get_json(http, "/v1/gateway"))["url"] == "ws://g1:9001"


async def test_a_taken_port_is_an_error_that_names_it(discovery: Discovery, keyring: Keyring) -> None:
    port = int(discovery.url.rpartition(":")[2])
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
        await Discovery("127.0.0.1", port, keyring).start()


async def test_stopping_twice_or_before_start_is_fine(keyring: Keyring) -> None:
    part = Discovery("127.0.0.1", 0, keyring)
    await part.stop()
    await part.start()
    await part.stop()
    await part.stop()
