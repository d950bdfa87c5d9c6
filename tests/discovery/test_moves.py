"""Places for clients that are to be moved, over real HTTP."""

from __future__ import annotations

import time
from collections import Counter

import aiohttp
import pytest

from roost.discovery.registrar import ComponentStatus, Registrar
from roost.discovery.server import Discovery
from roost.wire.codec import pack
from roost.wire.messages.moving import MAX_ENDPOINTS, ReserveEndpoints, read_endpoints
from roost.wire.messages.registry import ComponentKind
from roost.wire.tokens import Keyring
from tests.discovery.beats import make_beat
from tests.discovery.conftest import ADMIN, SECRET
from tests.discovery.test_server import get_json, send


def make_registrar(url: str, *more: str, zone: str = "") -> Registrar:
    labels = {"zone": zone} if zone else {}
    address = "ws://g1:9001"
    return Registrar(
        [url, *more],
        ComponentKind.GATEWAY,
        lambda: address,
        lambda: ComponentStatus(100, 0),
        labels=labels,
        secret=SECRET,
    )


async def test_places_are_spread_over_the_others_and_each_ticket_opens_its_gateway_once(
    http: aiohttp.ClientSession, discovery: Discovery, keyring: Keyring
) -> None:
    for name in ("g2", "g3", "g4"):
        await send(http, make_beat(name))
    registrar = make_registrar(discovery.url)
    await registrar.start()
    places = await registrar.reserve(60, is_leaving=True)
    await registrar.stop()
    assert Counter(place.url for place in places) == {f"ws://g{number}:9001": 20 for number in (2, 3, 4)}
    tickets = [
        keyring.read_ticket(place.ticket, time.time(), place.url.split("/")[2].split(":")[0]) for place in places
    ]
    assert len({ticket.serial for ticket in tickets}) == 60
    components = {c["incarnation"]: c["reserved"] for c in (await get_json(http, "/v1/components"))["components"]}
    assert (components["g2"], components["g3"], components["g4"]) == (20, 20, 20)


async def test_a_gateway_gets_no_place_at_itself_nor_more_than_there_are(
    http: aiohttp.ClientSession, discovery: Discovery
) -> None:
    registrar = make_registrar(discovery.url)
    assert await registrar.reserve(5, is_leaving=True) == []
    await registrar.start()
    assert await registrar.reserve(5, is_leaving=True) == []
    await send(http, make_beat("g2", load=97))
    assert [place.url for place in await registrar.reserve(5, is_leaving=True)] == ["ws://g2:9001"] * 3
    assert len(await registrar.reserve(MAX_ENDPOINTS * 9, is_leaving=True)) == 0
    await registrar.stop()


async def test_the_next_replica_is_asked_when_one_is_away_and_none_means_no_places(
    http: aiohttp.ClientSession, discovery: Discovery
) -> None:
    await send(http, make_beat("g2"))
    registrar = make_registrar("http://127.0.0.1:1", discovery.url)
    await registrar.start()
    assert len(await registrar.reserve(5, is_leaving=True)) == 5
    await discovery.stop()
    assert await registrar.reserve(5, is_leaving=True) == []
    await registrar.stop()


async def test_clients_are_moved_within_their_zone_while_there_is_room(
    http: aiohttp.ClientSession, discovery: Discovery
) -> None:
    await send(http, make_beat("g2", load=98, labels={"zone": "a"}))
    await send(http, make_beat("g3"))
    registrar = make_registrar(discovery.url, zone="a")
    await registrar.start()
    places = await registrar.reserve(4, is_leaving=True)
    await registrar.stop()
    assert [place.url for place in places] == ["ws://g2:9001"] * 2 + ["ws://g3:9001"] * 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        (SECRET.headers(), 200),
        (ADMIN.headers(), 200),
    ],
)
async def test_places_need_the_shared_secret_or_the_operators_token(
    http: aiohttp.ClientSession, headers: dict[str, str], status: int
) -> None:
    await send(http, make_beat("g2"))
    async with http.post("/v1/places", data=pack(ReserveEndpoints("g1", 1)), headers=headers) as response:
        assert response.status == status
        if status == 200:
            assert len(read_endpoints(await response.read()).places) == 1
    (component,) = (await get_json(http, "/v1/components"))["components"]
    assert component["reserved"] == (status == 200)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"{}",
        pack(["g1", 0, True]),
        pack(["g1", -1, True]),
        pack(["g1", MAX_ENDPOINTS + 1, True]),
        pack(["", 1, True]),
        pack(["x" * 65, 1, True]),
        pack(["g1", "many", True]),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_with_a_sentence(
    http: aiohttp.ClientSession, body: bytes
) -> None:
    async with http.post("/v1/places", data=body, headers=SECRET.headers()) as response:
        assert response.status == 400
        assert "not a valid request for endpoints" in (await response.json())["message"]
