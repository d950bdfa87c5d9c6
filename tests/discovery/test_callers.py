"""One address cannot hold every place: the rule, and discovery over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.discovery.core.client_tickets import LONGEST_S, MAX_REMEMBERED, ClientTicketLimiter, ClientTicketLimits
from roost.discovery.core.table import TICKET_S, Table
from roost.discovery.server import Discovery
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.errors import Misuse
from roost.wire.tokens import Keyring
from tests.discovery.beats import make_beat
from tests.discovery.conftest import SECRET
from tests.discovery.test_server import send


def test_loopback_is_not_counted_unless_it_is_asked_for() -> None:
    assert ClientTicketLimiter(ClientTicketLimits()).place_of("127.0.0.1", "") == ""
    assert ClientTicketLimiter(ClientTicketLimits()).place_of("::1", "") == ""
    assert ClientTicketLimiter(ClientTicketLimits(count_loopback=True)).place_of("127.0.0.9", "") == "127.0.0.9"
    assert ClientTicketLimiter(ClientTicketLimits(max_unused_tickets=0)).place_of("203.0.113.5", "") == ""


def test_an_ipv6_network_is_one_place_and_ipv4_in_its_clothes_is_ipv4() -> None:
    callers = ClientTicketLimiter(ClientTicketLimits())
    assert callers.place_of("2001:db8::1", "") == callers.place_of("2001:db8::ffff:2", "")
    assert callers.place_of("2001:db8::1", "") != callers.place_of("2001:db8:0:1::1", "")
    assert callers.place_of("::ffff:203.0.113.5", "") == "203.0.113.5"


def test_a_forwarded_address_counts_only_from_a_trusted_proxy() -> None:
    callers = ClientTicketLimiter(ClientTicketLimits(trusted_proxies="10.0.0.0/8"))
    assert callers.place_of("10.1.2.3", "6.6.6.6, 203.0.113.5") == "203.0.113.5"
    assert callers.place_of("198.51.100.1", "203.0.113.5") == "198.51.100.1"
    with pytest.raises(Misuse, match="trusted_proxies"):
        ClientTicketLimits(trusted_proxies="10.0.0.0/99")
    with pytest.raises(Misuse, match="max_unused_tickets"):
        ClientTicketLimits(max_unused_tickets=-1)


def test_a_crowd_behind_one_address_is_told_to_come_a_limit_in_each_beat() -> None:
    callers = ClientTicketLimiter(ClientTicketLimits(max_unused_tickets=100))
    waits = [callers.refuse("office", 5.0) for _ in range(400)]
    assert waits == sorted(waits)
    assert [waits.count(wait_s) for wait_s in (1, 2, 3, 4)] == [100, 100, 100, 100]
    assert callers.refuse("office", 5.0 + LONGEST_S) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100)), max_size=100))
def test_the_wait_is_always_within_its_bounds(events: list[tuple[int, float]]) -> None:
    callers, now = ClientTicketLimiter(ClientTicketLimits(max_unused_tickets=1)), 0.0
    for place, pause_s in events:
        now += pause_s
        assert 1 <= callers.refuse(str(place), now) <= LONGEST_S


def test_what_is_remembered_of_those_turned_away_is_bounded() -> None:
    callers = ClientTicketLimiter(ClientTicketLimits(max_unused_tickets=1))
    for number in range(MAX_REMEMBERED + 5):
        callers.refuse(str(number), 0.0)
    assert len(callers._turned_away) <= MAX_REMEMBERED


def test_unused_tickets_of_a_place_are_those_neither_redeemed_nor_expired() -> None:
    table = Table(-1000.0, interval_s=100.0)
    table.beat(make_beat("g1"), 0.0)
    (gateway,) = table.components()
    for number, place in enumerate(("a", "a", "b", "")):
        table.reserve(bytes((number,)), gateway, 1.0, place)
    assert [table.unused(place) for place in ("a", "b", "", "c")] == [2, 1, 0, 0]
    table.beat(make_beat("g1", 2, redeemed=[bytes((0,)), bytes((2,))]), 2.0)
    assert [table.unused(place) for place in ("a", "b")] == [1, 0]
    table.expire(1.0 + TICKET_S)
    assert table.unused("a") == 0


@asynccontextmanager
async def serving(keyring: Keyring, limits: ClientTicketLimits) -> AsyncIterator[aiohttp.ClientSession]:
    part = Discovery("127.0.0.1", 0, keyring, secret=SECRET, limits=limits)
    await part.start()
    async with aiohttp.ClientSession(part.url) as http:
        yield http
    await part.stop()


async def ask(http: aiohttp.ClientSession, forwarded: str = "") -> tuple[int, Any, str]:
    """Status, body and Retry-After of a client's question."""
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    async with http.get("/v1/gateway", headers=headers) as response:
        return response.status, await response.json(), response.headers.get("Retry-After", "")


async def test_an_address_that_only_collects_tickets_holds_its_share_and_the_others_get_in(keyring: Keyring) -> None:
    limits = ClientTicketLimits(max_unused_tickets=5, trusted_proxies="127.0.0.0/8")
    async with serving(keyring, limits) as http:
        await send(http, make_beat("g1", capacity=20))
        greedy = [await ask(http, "203.0.113.5") for _ in range(50)]
        assert [status for status, _, _ in greedy] == [200] * 5 + [429] * 45
        _, problem, retry_after = greedy[-1]
        assert problem["code"] == "overloaded"
        assert "too many unused tickets" in problem["message"]
        assert 1 <= int(retry_after) <= LONGEST_S
        others = [await ask(http, f"203.0.113.{number}") for number in range(10, 20)]
        assert [status for status, _, _ in others] == [200] * 10


async def test_whoever_uses_its_tickets_gets_more(keyring: Keyring) -> None:
    async with serving(keyring, ClientTicketLimits(max_unused_tickets=2, count_loopback=True)) as http:
        await send(http, make_beat("g1"))
        answers = [await ask(http) for _ in range(3)]
        assert [status for status, _, _ in answers] == [200, 200, 429]
        ticket = keyring.read_ticket(answers[0][1]["ticket"], SYSTEM_CLOCK.wall(), "g1")
        await send(http, make_beat("g1", 2, load=1, redeemed=[ticket.serial]))
        assert [(await ask(http))[0] for _ in range(2)] == [200, 429]
