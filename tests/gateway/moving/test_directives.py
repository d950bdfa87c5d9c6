"""Directives of discovery: move some clients away, drain, accept again."""

from __future__ import annotations

import asyncio

import aiohttp
from wsproto.events import CloseConnection

from roost.gateway.server import Server
from roost.wire.messages.moving import GatewayDirectives
from tests.gateway.harness import Client, GatewayFixture, Recorder, until
from tests.gateway.moving.test_drain import Elsewhere, Guide
from tests.gateway.test_server import refusal_of

FAST = 1e6


async def crowd(gateways: GatewayFixture, server: Server, count: int) -> list[Client]:
    return [await gateways.open(server) for _ in range(count)]


async def told(clients: list[Client]) -> set[str]:
    return {str(await client.hear()) for client in clients}


async def test_so_many_are_told_to_go_and_nobody_is_closed(gateways: GatewayFixture) -> None:
    app, places = Guide(), Elsewhere(100, is_leaving=False)
    server = await gateways.serve(app, reserve_endpoints=places)
    clients = await crowd(gateways, server, 5)
    server.follow(GatewayDirectives(give_away=3, per_s=FAST))
    await until(lambda: server.counters.moves == 3)
    assert places.asked == [3]
    assert server.vitals().moving == 3
    asked = [entry[1] for entry in app.log if entry[0] == "move"]
    assert len(set(asked)) == 3
    assert app.closes() == []
    assert all(peer.is_open for peer in app.peers)
    assert len(clients) == 5


async def test_who_has_gone_is_no_longer_about_to(gateways: GatewayFixture) -> None:
    server = await gateways.serve(Guide(), reserve_endpoints=Elsewhere(100, is_leaving=False))
    (client,) = await crowd(gateways, server, 1)
    server.follow(GatewayDirectives(give_away=1, per_s=FAST))
    assert await told([client]) == {"ws://g2:1 t0"}
    await client.send(CloseConnection(code=1000))
    await client.closed()
    await until(lambda: server.vitals().moving == 0)


async def test_while_more_is_asked_without_a_pause_nobody_is_told_twice(gateways: GatewayFixture) -> None:
    server = await gateways.serve(Guide(), reserve_endpoints=Elsewhere(100, is_leaving=False))
    await crowd(gateways, server, 5)
    for goal in (3, 5, 5):
        server.follow(GatewayDirectives(give_away=3, per_s=FAST))
        await until(lambda goal=goal: server.counters.moves == goal)  # type: ignore[misc]
        await rebalancing_ended(server)
    server.follow(GatewayDirectives())
    server.follow(GatewayDirectives(give_away=3, per_s=FAST))
    await until(lambda: server.counters.moves == 8)


async def test_no_more_go_than_there_are_places_and_none_at_all_without(gateways: GatewayFixture) -> None:
    server = await gateways.serve(Guide(), reserve_endpoints=Elsewhere(2, is_leaving=False))
    await crowd(gateways, server, 5)
    server.follow(GatewayDirectives(give_away=4, per_s=FAST))
    await until(lambda: server.counters.moves == 2)
    await rebalancing_ended(server)
    assert server.counters.moves == 2


async def test_the_pace_is_kept(gateways: GatewayFixture) -> None:
    places = Elsewhere(100, is_leaving=False)
    server = await gateways.serve(Guide(), reserve_endpoints=places)
    await crowd(gateways, server, 5)
    server.follow(GatewayDirectives(give_away=5, per_s=0.001))
    await until(lambda: server.counters.moves == 1)
    server.follow(GatewayDirectives(give_away=5, per_s=FAST))  # waits until the first order is done
    await asyncio.sleep(0)
    assert (server.counters.moves, places.asked) == (1, [5])


async def test_who_is_busy_stays(gateways: GatewayFixture) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(100, is_leaving=False))
    _, other = await crowd(gateways, server, 2)
    await until(lambda: len(app.peers) == 2)
    app.busy.add(app.peers[0])
    server.follow(GatewayDirectives(give_away=2, per_s=FAST))
    assert await told([other]) == {"ws://g2:1 t0"}
    await rebalancing_ended(server)
    assert server.counters.moves == 1


async def test_an_application_that_cannot_tell_its_peers_gives_none_away(gateways: GatewayFixture) -> None:
    places = Elsewhere(100, is_leaving=False)
    server = await gateways.serve(Recorder(), reserve_endpoints=places)
    await crowd(gateways, server, 2)
    server.follow(GatewayDirectives(give_away=2, per_s=FAST))
    await asyncio.sleep(0)
    assert places.asked == []


async def test_told_to_leave_it_sends_all_away_and_lets_nobody_in_until_it_may_come_back(
    gateways: GatewayFixture,
) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(100))
    clients = await crowd(gateways, server, 3)
    for _ in range(2):  # several replicas send the order
        server.follow(GatewayDirectives(leave=True, window_s=1.0))
    assert len(await told(clients)) == 3
    assert [(await client.closed())[0] for client in clients] == [1012] * 3
    late = await gateways.connect(server)
    await late.write(late.upgrade_bytes())
    assert (await refusal_of(late))[0] == 503
    server.follow(GatewayDirectives(leave=False))
    await crowd(gateways, server, 1)
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{server.port}/health") as answer:
        assert answer.status == 200


async def test_called_back_in_the_middle_it_keeps_who_is_still_there(gateways: GatewayFixture) -> None:
    app = Guide()
    server = await gateways.serve(app, reserve_endpoints=Elsewhere(100))
    (client,) = await crowd(gateways, server, 1)
    server.follow(GatewayDirectives(leave=True, window_s=1000.0))
    assert len(await told([client])) == 1
    server.follow(GatewayDirectives(leave=False))
    await asyncio.sleep(0)
    assert app.closes() == []
    await client.say("still here")
    assert await client.hear() == "still here"


async def test_a_signal_in_the_middle_of_an_order_ends_it_within_the_signals_window(gateways: GatewayFixture) -> None:
    server = await gateways.serve(Guide(), reserve_endpoints=Elsewhere(100), drain_s=0.5)
    (client,) = await crowd(gateways, server, 1)
    server.follow(GatewayDirectives(leave=True, window_s=1000.0))
    await told([client])
    await asyncio.wait_for(asyncio.gather(server.drain(), client.closed()), 10)
    assert server.connections == 0


async def rebalancing_ended(server: Server) -> None:
    task = server._directives._rebalancer._task
    if task is not None:
        await asyncio.wait({task})
