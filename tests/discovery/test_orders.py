"""What operators ask for, over real HTTP, and how it comes to the gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from roost.discovery.registrar import ComponentStatus, Registrar
from roost.discovery.server import Discovery
from roost.wire.messages.moving import GatewayDirectives
from roost.wire.messages.registry import ComponentKind
from roost.wire.tokens import Keyring
from tests.discovery.beats import make_beat
from tests.discovery.conftest import ADMIN, SECRET
from tests.discovery.test_registrar import INTERVAL_S, until, until_listed
from tests.discovery.test_server import send


async def order(
    http: aiohttp.ClientSession, path: str, status: int = 200, headers: dict[str, str] | None = None, **body: Any
) -> Any:
    async with http.post(path, json=body, headers=ADMIN.headers() if headers is None else headers) as response:
        assert response.status == status, await response.text()
        return await response.json()


@pytest.fixture
async def fast(keyring: Keyring) -> AsyncIterator[list[Discovery]]:
    """Two replicas whose components beat often."""
    pair = [Discovery("127.0.0.1", 0, keyring, secret=SECRET, admin=ADMIN, interval_s=INTERVAL_S) for _ in range(2)]
    for replica in pair:
        await replica.start()
    yield pair
    for replica in pair:
        await replica.stop()


class Gateway:
    """Beats, and notes what it is asked; gives away at once what it should."""

    def __init__(self, replicas: list[Discovery], name: str, load: int = 0) -> None:
        self.asked: list[GatewayDirectives] = []
        self.load, self.moving = load, 0
        self.registrar = Registrar(
            [replica.url for replica in replicas],
            ComponentKind.GATEWAY,
            lambda: f"ws://{name}:9001",
            lambda: ComponentStatus(10_000, self.load, moving=self.moving),
            follow=self.asked.append,
            secret=SECRET,
        )

    def orders(self) -> list[bool | None]:
        return [asked.leave for asked in self.asked if asked.leave is not None]

    def given_away(self) -> int:
        return sum(asked.give_away for asked in self.asked)


@pytest.mark.parametrize("path", ["/v1/drain", "/v1/rebalance"])
async def test_orders_need_the_admin_token_and_the_refusal_says_what_to_set(
    http: aiohttp.ClientSession, keyring: Keyring, path: str
) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, SECRET.headers()):
        problem = await order(http, path, 401, headers, gateway="g1")
        assert "set ROOST_ADMIN_TOKEN to the one" in problem["message"]
    without = Discovery("127.0.0.1", 0, keyring)
    await without.start()
    async with aiohttp.ClientSession(without.url) as other:
        for headers in ({}, {"Authorization": "Bearer "}, ADMIN.headers()):
            problem = await order(other, path, 403, headers, gateway="g1")
            assert "start discovery with ROOST_ADMIN_TOKEN" in problem["message"]
    await without.stop()


@pytest.mark.parametrize("name", ["ws://g1:9001", "g1:9001", "ws://g1:9001/", "g1"])
async def test_a_gateway_is_told_to_leave_by_its_address_or_incarnation_until_it_does(
    http: aiohttp.ClientSession, name: str
) -> None:
    await send(http, make_beat("g1", load=7))
    await send(http, make_beat("g2"))
    found = await order(http, "/v1/drain", gateway=name, window_s=3)
    assert found == {"gateway": "ws://g1:9001", "incarnation": "g1", "load": 7, "done": False}
    for sequence in (2, 3):  # the first answer may be lost
        assert (await send(http, make_beat("g1", sequence))).directions == GatewayDirectives(leave=True, window_s=3.0)
    assert (await send(http, make_beat("g2", 2))).directions == GatewayDirectives()
    assert (await send(http, make_beat("g1", 4, draining=True))).directions == GatewayDirectives()
    assert (await send(http, make_beat("g1", 5))).directions == GatewayDirectives()
    assert (await order(http, "/v1/drain", gateway=name, undo=True))["done"] is True


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "gateway"),
        ({"gateway": ""}, "gateway"),
        ({"gateway": 1}, "gateway"),
        ({"gateway": "g" * 600}, "gateway"),
        ({"gateway": "g1", "window_s": -1}, "window_s"),
        ({"gateway": "g1", "window_s": 1e9}, "window_s"),
        ({"gateway": "g1", "hurry": True}, "hurry"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused_and_changes_nothing(
    http: aiohttp.ClientSession, body: dict[str, Any], named: str
) -> None:
    await send(http, make_beat("g1"))
    assert named in (await order(http, "/v1/drain", 400, **body))["message"]
    assert (await send(http, make_beat("g1", 2))).directions == GatewayDirectives()


async def test_an_unknown_gateway_is_an_error_that_names_those_there_are(http: aiohttp.ClientSession) -> None:
    await send(http, make_beat("g1"))
    await send(http, make_beat("l1", kind=ComponentKind.LOCK, address="http://l1:1"))
    for name in ("g9", "l1", "http://l1:1"):
        assert "there are: ws://g1:9001" in (await order(http, "/v1/drain", 404, gateway=name))["message"]


async def test_a_drain_asked_of_one_replica_is_known_to_all_and_so_is_its_end(fast: list[Discovery]) -> None:
    gateway = Gateway(fast, "g1")
    await gateway.registrar.start()
    for undo in (False, True):
        async with aiohttp.ClientSession(fast[undo].url) as http:
            await order(http, "/v1/drain", gateway="ws://g1:9001", undo=undo, force=True)
        for replica in fast:
            await until_listed(replica.url, lambda found, undo=undo: found[0]["draining"] is not undo)  # type: ignore[misc]
    assert gateway.orders() == [True, False]
    await gateway.registrar.stop()


async def test_a_gateway_that_ends_takes_no_orders(fast: list[Discovery]) -> None:
    gateway = Gateway(fast[:1], "g1")
    await gateway.registrar.start()
    await gateway.registrar.drain()
    async with aiohttp.ClientSession(fast[0].url) as http:
        await order(http, "/v1/drain", gateway="ws://g1:9001", undo=True)
    told = len(gateway.asked)
    (before,) = await until_listed(fast[0].url, bool)
    await until_listed(fast[0].url, lambda found: found[0]["known_s"] > before["known_s"])  # type: ignore[operator]
    assert (await until_listed(fast[0].url, bool))[0]["draining"] is True
    assert len(gateway.asked) == told
    await gateway.registrar.stop()


async def test_two_replicas_asked_to_rebalance_do_not_double_what_is_given_away(fast: list[Discovery]) -> None:
    full, empty = Gateway(fast, "full", 9), Gateway(fast[::-1], "empty")
    for gateway in (full, empty):
        await gateway.registrar.start()
    for replica in fast:
        async with aiohttp.ClientSession(replica.url) as http:
            assert await order(http, "/v1/rebalance") == {"to_move": 4}
    await until(lambda: full.given_away() > 0)
    (wanted,) = {asked.give_away for asked in full.asked} - {0}
    places = await full.registrar.reserve(wanted, is_leaving=False)
    assert [place.url for place in places] == ["ws://empty:9001"] * 4
    full.moving = 4
    heard = len(full.asked)
    await until(lambda: len(full.asked) > heard + 5)
    assert {asked.give_away for asked in full.asked[heard + 4 :]} == {0}
    assert empty.given_away() == 0
    assert await empty.registrar.reserve(9, is_leaving=False) == []
    for gateway in (full, empty):
        await gateway.registrar.stop()


async def test_nobody_is_moved_to_a_gateway_that_has_its_share(
    http: aiohttp.ClientSession, discovery: Discovery
) -> None:
    for name, load in (("g2", 50), ("g3", 50), ("g4", 47)):
        await send(http, make_beat(name, load=load))
    gateway = Gateway([discovery], "g1", 53)
    gateway.registrar._snapshot = lambda: ComponentStatus(100, 53)
    await gateway.registrar.start()
    assert [place.url for place in await gateway.registrar.reserve(9, is_leaving=False)] == ["ws://g4:9001"] * 3
    await gateway.registrar.stop()
