"""Limits: the counters against models, and admission over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.gateway.admission.limits import AddressCounts, AddressLimiter, OriginPolicy
from roost.gateway.admission.proxy_protocol import MAX_BYTES, SIGNATURE, BadProxyHeader, read_header
from roost.gateway.connections.rate import Rate
from roost.gateway.connections.wheel import TICK_S
from roost.gateway.settings import Settings
from roost.wire.client_address import Proxies
from roost.wire.errors import Misuse
from tests.gateway.harness import GatewayFixture, Recorder, TickClock, pass_time, until
from tests.gateway.test_server import refusal_of
from tests.gateway.websocket.bytes_of import frame, text


@given(st.lists(st.integers(0, 400), max_size=120), st.integers(1, 20), st.integers(1, 5))
def test_a_rate_never_lets_through_more_than_its_bucket_and_what_flowed_in(
    steps: list[int], per_s: int, burst_s: int
) -> None:
    rate, now, taken = Rate(per_s, burst_s), 1, []
    for step in steps:
        now += step // 40
        if rate.takes(7, now):
            taken.append(now)
    for index, first in enumerate(taken):
        for later, last in enumerate(taken[index:]):
            assert later <= per_s * burst_s + per_s * (last - first) * TICK_S + 1e-6


def test_a_rate_lets_an_even_flow_through_for_ever() -> None:
    rate = Rate(10, 2)
    assert all(rate.takes(1, now) for now in range(1, 5000))


def test_a_burst_is_taken_and_the_next_one_too_many() -> None:
    rate = Rate(8, 2)
    assert [rate.takes(1, 5) for _ in range(18)] == [True] * 17 + [False]
    assert rate.takes(2, 5), "another descriptor has a bucket of its own"
    rate.forget(1)
    assert rate.takes(1, 5), "a new tenant starts with an empty bucket"


def test_no_rate_is_no_limit() -> None:
    rate = Rate(0, 2)
    assert all(rate.takes(1, 5) for _ in range(1000))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.integers(0, 40)), max_size=300))
def test_address_counts_are_a_counter(changes: list[tuple[bool, int, int]]) -> None:
    counts, model, owner = AddressCounts(), Counter[str](), dict[int, str]()
    for is_add, fd, number in changes:
        address = f"10.0.0.{number}"
        if is_add and fd not in owner:
            counts.add(fd, address)
            owner[fd] = address
            model[address] += 1
        elif not is_add:
            counts.remove(fd)
            model[owner.pop(fd, "")] -= 1
    assert all(counts[f"10.0.0.{number}"] == max(model[f"10.0.0.{number}"], 0) for number in range(41))


def test_address_counts_survive_many_more_addresses_than_they_have_room_for_at_first() -> None:
    counts = AddressCounts()
    for fd in range(20_000):
        counts.add(fd, f"10.0.{fd >> 8}.{fd & 255}")
        if fd >= 5000:
            counts.remove(fd - 5000)
    assert counts["10.0.78.31"] == 1
    assert counts["10.0.0.7"] == 0


def test_loopback_is_exempt_unless_it_is_counted() -> None:
    exempt, counted = AddressLimiter(1, count_loopback=False), AddressLimiter(1, count_loopback=True)
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert [exempt.takes(fd, address) for fd in (1, 2)] == [True, True]
        assert [counted.takes(hash(address) % 999 + fd, address) for fd in (1, 2)] == [True, False]
    assert [exempt.takes(fd, "192.0.2.1") for fd in (3, 4)] == [True, False]
    exempt.leaves(3)
    assert exempt.takes(5, "192.0.2.1")


def test_origins_hold_browsers_to_the_list_and_nobody_else() -> None:
    origins = OriginPolicy("https://a.example, https://b.example:8443")
    assert origins.check({b"origin": b"https://a.example"}) is None
    assert origins.check({b"origin": b"HTTPS://A.example"}) is None
    assert origins.check({}) is None
    for bad in (b"https://a.example.evil", b"http://a.example", b"null", b""):
        refusal = origins.check({b"origin": bad})
        assert refusal is not None
        assert refusal.status == 403
    assert OriginPolicy("").check({b"origin": b"https://any"}) is None
    assert OriginPolicy("*").check({b"origin": b"https://any"}) is None


def test_a_forwarded_address_counts_only_from_a_trusted_proxy() -> None:
    proxies = Proxies("10.0.0.0/8, 192.0.2.7")
    header = "6.6.6.6, 203.0.113.5, 10.1.1.1"
    assert proxies.client_of("10.2.2.2", header) == "203.0.113.5"
    assert proxies.client_of("198.51.100.1", header) == "198.51.100.1"
    assert proxies.client_of("10.2.2.2", "") == "10.2.2.2"
    assert proxies.client_of("10.2.2.2", "rubbish") == "10.2.2.2"
    with pytest.raises(Misuse, match="trusted_proxies"):
        Settings(trusted_proxies="10.0.0.0/99")


def proxied(address: bytes, *, command: int = 1, family: int = 1, more: bytes = b"") -> bytes:
    body = address + bytes(len(address)) + b"\x00\x50\x23\x29" + more
    return SIGNATURE + bytes((0x20 | command, family << 4 | 1)) + len(body).to_bytes(2, "big") + body


def test_a_proxy_header_names_the_client() -> None:
    assert read_header(proxied(bytes((203, 0, 113, 9))) + b"GET") == ("203.0.113.9", 28)
    assert read_header(proxied(bytes(15) + b"\x01", family=2, more=b"tlv")) == ("::1", 55)
    assert read_header(SIGNATURE + b"\x20\x00\x00\x00") == ("", 16)


@given(st.integers(0, 27), st.binary(max_size=600))
def test_a_proxy_header_is_waited_for_or_refused(cut: int, junk: bytes) -> None:
    assert read_header(proxied(bytes(4))[:cut]) is None
    for data in (junk, proxied(bytes(4))[:cut] + junk):
        try:
            found = read_header(data)
        except BadProxyHeader:
            continue
        assert found is None or (found[1] <= len(data) and found[1] <= MAX_BYTES)


async def test_an_address_with_too_many_connections_gets_429_and_room_again_when_one_leaves(
    gateways: GatewayFixture,
) -> None:
    server = await gateways.serve(max_per_address=2, count_loopback=True, retry_after_s=3)
    clients = [await gateways.open(server) for _ in range(2)]
    third = await gateways.connect(server)
    await third.write(third.upgrade_bytes())
    status, headers = await refusal_of(third)
    assert (status, headers["Retry-After"]) == (429, "3")
    await gateways.open(server, source="127.0.0.9")
    clients[0].reset()
    await until(lambda: server.counters.open_now == 2)
    await gateways.open(server)


async def test_a_crowd_of_one_address_takes_no_places_from_others(gateways: GatewayFixture) -> None:
    server = await gateways.serve(max_per_address=2, count_loopback=True, max_connections=200)
    crowd = [await gateways.connect(server, source="127.0.0.66") for _ in range(300)]
    await until(lambda: server.counters.accepted == 300)
    assert server.connections <= 2 + 64
    honest = await gateways.open(server)
    await honest.say("hello")
    assert await honest.hear() == "hello"
    for client in crowd:
        client.reset()
    await until(lambda: server.connections == 1)
    assert server.counters.refused["address"] >= 300 - 2 - 64


async def test_the_address_of_a_proxied_client_is_the_one_the_proxy_names(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app, trusted_proxies="127.0.0.0/8", max_per_address=1)
    for address, status in (("203.0.113.1", 101), ("203.0.113.2", 101), ("203.0.113.1", 429)):
        client = await gateways.connect(server)
        request = client.upgrade_bytes().replace(b"\r\n\r\n", f"\r\nX-Forwarded-For: {address}\r\n\r\n".encode())
        await client.write(request)
        assert (await client.read()).startswith(f"HTTP/1.1 {status} ".encode())
    assert [request.address for request in app.requests] == ["203.0.113.1", "203.0.113.2"]


async def test_a_proxy_header_comes_before_the_request_in_any_pieces(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app, proxy_protocol=True)
    client = await gateways.connect(server)
    for byte in proxied(bytes((203, 0, 113, 9))) + client.upgrade_bytes() + text("hi"):
        await client.write(bytes((byte,)))
    await client.event()
    assert await client.hear() == "hi"
    assert app.requests[0].address == "203.0.113.9"
    bare = await gateways.connect(server)
    await bare.write(bare.upgrade_bytes())
    with pytest.raises((ConnectionError, AssertionError)):
        assert await bare.read() != b""


async def test_a_page_of_a_foreign_origin_is_refused(gateways: GatewayFixture) -> None:
    server = await gateways.serve(allow_origins="https://good.example")
    client = await gateways.connect(server)
    await client.write(client.upgrade_bytes().replace(b"\r\n\r\n", b"\r\nOrigin: https://evil.example\r\n\r\n"))
    assert (await refusal_of(client))[0] == 403
    await gateways.open(server)


@pytest.mark.parametrize(
    ("settings", "piece"), [({"max_messages_per_s": 5}, text("x")), ({"max_pings_per_s": 5}, frame(9, b"x"))]
)
async def test_who_sends_too_fast_is_closed_and_nobody_else(
    gateways: GatewayFixture, settings: dict[str, float], piece: bytes
) -> None:
    app = Recorder()
    server = await gateways.serve(app, clock=TickClock(), **settings)
    fast, slow = await gateways.open(server), await gateways.open(server)
    await fast.write(piece * 30)
    assert (await fast.closed())[0] == 1008
    await slow.say("hello")
    assert await slow.hear() == "hello"


async def test_accepting_keeps_to_its_rate(gateways: GatewayFixture) -> None:
    clock = TickClock()
    server = await gateways.serve(clock=clock, max_accepts_per_s=10)
    clients = [await gateways.connect(server) for _ in range(15)]
    await until(lambda: server.counters.accepted == 11)
    await clients[0].upgrade()
    assert server.counters.accepted == 11
    await pass_time(server, clock, 1)
    await until(lambda: server.counters.accepted == 15)
    await asyncio.gather(*(client.upgrade() for client in clients[1:]))
