"""A draining gateway tells each client a new endpoint, if there is one, and closes it later."""

from __future__ import annotations

import asyncio
import time

import pytest
from wsproto.events import CloseConnection

from roost.gateway.api import Endpoint, Peer
from roost.wire.clock import SystemClock
from roost.wire.messages import moving as wire
from tests.gateway.harness import GatewayFixture, Recorder, until
from tests.gateway.websocket.bytes_of import frame


class Guide(Recorder):
    """Tells peers their new endpoint, except busy ones."""

    def __init__(self) -> None:
        super().__init__()
        self.busy: set[Peer] = set()

    def on_move(self, peer: Peer, endpoint: Endpoint) -> bool:
        self._note("move", peer)
        return peer not in self.busy and peer.send(f"{endpoint.url} {endpoint.ticket}")


class Elsewhere:
    """Reserves up to `count` endpoints in total."""

    def __init__(self, count: int, *, is_leaving: bool = True) -> None:
        self._is_leaving = is_leaving
        self.count, self.given = count, 0
        self.asked: list[int] = []

    async def __call__(self, count: int, *, is_leaving: bool) -> list[wire.Endpoint]:
        assert is_leaving == self._is_leaving
        self.asked.append(count)
        first = self.given
        self.given = min(first + count, self.count)
        return [wire.Endpoint("ws://g2:1", f"t{number}") for number in range(first, self.given)]


async def test_each_client_is_told_a_place_of_its_own_and_may_leave_by_itself(gateways: GatewayFixture) -> None:
    app, places = Guide(), Elsewhere(100)
    server = await gateways.serve(app, reserve_endpoints=places, drain_s=2)
    stays, leaves = await gateways.open(server), await gateways.open(server)
    draining = asyncio.ensure_future(server.drain())
    assert {await stays.hear(), await leaves.hear()} == {"ws://g2:1 t0", "ws://g2:1 t1"}
    assert app.closes() == []
    await leaves.send(CloseConnection(code=1000))
    assert (await leaves.closed())[0] == 1000
    assert (await stays.closed())[0] == 1012
    await draining
    assert sorted(app.closes()) == [1000, 1012]
    assert server.counters.moves == 2
    assert len(places.asked) == 1, "one request reserves many places"


async def test_who_finds_no_place_is_closed_when_its_turn_comes(gateways: GatewayFixture) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(1), drain_s=60)
    clients = [await gateways.open(server) for _ in range(3)]
    draining = asyncio.ensure_future(server.drain())
    await until(lambda: app.closes() == [1012, 1012])
    assert server.counters.moves == 1
    draining.cancel()
    assert len(clients) == 3


async def test_an_application_that_cannot_tell_them_has_its_peers_closed_and_asks_for_no_place(
    gateways: GatewayFixture,
) -> None:
    places = Elsewhere(100)
    server = await gateways.serve(Recorder(), reserve_endpoints=places, drain_s=60)
    client = await gateways.open(server)
    await asyncio.wait_for(asyncio.gather(server.drain(), client.closed()), 10)
    assert places.asked == []


async def test_a_peer_that_the_application_calls_busy_is_asked_again_and_moves_later(gateways: GatewayFixture) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(100), drain_s=60)
    client = await gateways.open(server)
    await until(lambda: len(app.peers) == 1)
    app.busy.add(app.peers[0])
    draining = asyncio.ensure_future(server.drain())
    await until(lambda: app.log.count(("move", app.peers[0])) >= 3)
    app.busy.clear()
    assert await client.hear() == "ws://g2:1 t0"
    client.close()
    await draining


@pytest.mark.parametrize("direction", ["in", "out"])
async def test_a_peer_in_the_middle_of_a_message_is_not_moved_before_its_end(
    gateways: GatewayFixture, direction: str
) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(100), drain_s=60, max_outbox_bytes=1 << 24)
    client, other = await gateways.open(server, receive_buffer=4096), await gateways.open(server)
    if direction == "in":
        await client.write(frame(1, b"be", fin=False))
        await until(lambda: bool(server.writer.parsers))
    else:
        app.peers[0].send("x" * 8_000_000)
        assert server.writer.outboxes
    draining = asyncio.ensure_future(server.drain())
    assert (await other.hear()).startswith("ws://")  # type: ignore[arg-type]
    other.close()
    assert ("move", app.peers[0]) not in app.log
    if direction == "in":
        await client.write(frame(0, b"gun"))
        assert await client.hear() == "begun"
    else:
        assert len(await client.hear()) == 8_000_000
    assert await client.hear() == "ws://g2:1 t1"
    client.close()
    await draining


async def test_who_stays_busy_is_closed_before_the_window_ends(gateways: GatewayFixture) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(100), drain_s=1)
    client = await gateways.open(server)
    await until(lambda: len(app.peers) == 1)
    app.busy.add(app.peers[0])
    draining = asyncio.ensure_future(server.drain())
    assert (await client.closed())[0] == 1012
    await draining
    assert server.connections == 0


async def test_an_application_that_raises_when_told_costs_that_connection_only(gateways: GatewayFixture) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(100), drain_s=2)
    first, second = await gateways.open(server), await gateways.open(server)

    def fail(peer: Peer) -> None:
        if peer == app.peers[0]:
            raise RuntimeError("a bug")

    app.on["move"] = fail
    draining = asyncio.ensure_future(server.drain())
    assert (await first.closed())[0] == 4101
    assert await second.hear() == "ws://g2:1 t0"
    second.close()
    await draining


async def test_no_window_at_all_still_says_goodbye(gateways: GatewayFixture) -> None:
    server = await gateways.serve(Guide(), reserve_endpoints=Elsewhere(100), drain_s=0)
    client = await gateways.open(server)
    await server.drain()
    assert (await client.closed())[0] == 1012


async def test_a_process_that_was_kept_from_running_until_the_window_was_over_still_says_goodbye(
    gateways: GatewayFixture,
) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(100), drain_s=60)
    clients = [await gateways.open(server) for _ in range(3)]
    server.clock = Starved()
    draining = asyncio.ensure_future(server.drain())
    assert [await client.hear() for client in clients] == ["ws://g2:1 t0", "ws://g2:1 t1", "ws://g2:1 t2"]
    await draining
    await server.stop()
    assert app.closes() == [1012] * 3


class Starved(SystemClock):
    """A clock on which every sleep ends an hour late."""

    _late_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._late_s

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self._late_s += 3600.0
