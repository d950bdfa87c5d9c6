"""Hostile clients do not affect honest clients on the same gateway (I8)."""

from __future__ import annotations

import asyncio
import random

import pytest

from roost.gateway.server import Server
from roost.wire.codes import POLICY
from tests.gateway.harness import Client, GatewayFixture, Recorder, TickClock, pass_time, until
from tests.gateway.websocket.bytes_of import MASK, frame

HONEST_COUNT = 20


async def talk_on(clients: list[Client], stop: asyncio.Event) -> int:
    """Each client sends a message and waits for its echo, repeatedly; return the number of echoes."""
    rounds = 0
    while not stop.is_set():
        for client in clients:
            await client.say(f"round {rounds}")
        for client in clients:
            assert await client.hear() == f"round {rounds}"
        rounds += 1
    return rounds * len(clients)


class Beside:
    """Runs honest clients while the body of the ``async with`` attacks."""

    def __init__(self, gateways: GatewayFixture, server: Server) -> None:
        self._house, self._server = gateways, server
        self._stop = asyncio.Event()

    async def __aenter__(self) -> None:
        clients = [await self._house.open(self._server) for _ in range(HONEST_COUNT)]
        self._talk = asyncio.ensure_future(talk_on(clients, self._stop))

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        assert await self._talk > 0


async def test_endless_fragments_of_nothing_are_cut_off(gateways: GatewayFixture) -> None:
    server = await gateways.serve(max_fragments=100)
    async with Beside(gateways, server):
        client = await gateways.open(server)
        await client.write(frame(1, b"", fin=False) + frame(0, b"", fin=False) * 200)
        assert (await client.closed())[0] == POLICY.number


async def test_a_ping_flood_is_cut_off(gateways: GatewayFixture) -> None:
    server = await gateways.serve()
    async with Beside(gateways, server):
        client = await gateways.open(server)
        await client.write(frame(9, b"x" * 125) * 5000)
        assert (await client.closed())[0] == POLICY.number


async def test_a_header_of_a_tebibyte_is_refused_before_its_payload(gateways: GatewayFixture) -> None:
    server = await gateways.serve()
    async with Beside(gateways, server):
        client = await gateways.open(server)
        await client.write(bytes((0x82, 0xFF)) + (1 << 40).to_bytes(8, "big") + MASK)
        assert (await client.closed())[0] == 1009


async def test_a_message_that_never_ends_is_cut_off_in_time(gateways: GatewayFixture) -> None:
    app, clock = Recorder(), TickClock()
    server = await gateways.serve(app, clock=clock, max_message_s=30)
    client = await gateways.open(server)
    whole = frame(2, bytes(1000))
    for at in range(0, 250, 10):
        await client.write(whole[at : at + 10])
        before = at
        await until(lambda seen=before: server.counters.bytes_in >= seen)  # type: ignore[misc]
        await pass_time(server, clock, 1.25)
    await until(lambda: app.closes() == [POLICY.number])
    assert not server.writer.parsers or server.counters.open_now == 0


async def test_a_stream_of_messages_whose_reads_never_end_at_a_message_is_not_cut_off(gateways: GatewayFixture) -> None:
    clock = TickClock()
    server = await gateways.serve(clock=clock, max_message_s=30, ping_after_s=0)
    client = await gateways.open(server)
    message = frame(2, bytes(50))
    await client.write(message[:20])
    for _ in range(60):
        await client.write(message[20:] + message[:20])
        assert await client.hear() == bytes(50)
        await pass_time(server, clock, 1)


async def test_a_client_that_never_reads_costs_only_its_outbox(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app, max_outbox_bytes=200_000)
    async with Beside(gateways, server):
        client = await gateways.open(server, receive_buffer=4096)
        deaf = app.peers[-1]
        try:
            async with asyncio.timeout(1):
                while deaf.is_open:
                    await client.write(frame(2, bytes(30_000)))
        except (TimeoutError, ConnectionError):
            pass  # the gateway no longer reads from it, so its own sending stalls
        held = sum(outbox.byte_count for outbox in server.writer.outboxes.values())
        assert held <= 200_000
    client.reset()
    await until(lambda: not server.writer.outboxes)


@pytest.mark.parametrize("seed", range(5))
async def test_rubbish_harms_nobody(gateways: GatewayFixture, seed: int) -> None:
    dice = random.Random(seed)
    server = await gateways.serve(Recorder())
    async with Beside(gateways, server):
        for _ in range(40):
            client = await gateways.connect(server)
            if dice.random() < 0.7:
                await client.upgrade()
            try:
                for _ in range(dice.randrange(4)):
                    await client.write(dice.randbytes(dice.randrange(1, 300)))
            except ConnectionError:
                pass
            dice.choice((client.reset, client.close))()
        await until(lambda: server.connections == HONEST_COUNT)
    assert server.counters.application_errors == 0


async def test_connects_and_resets_in_quick_succession_leave_nothing(gateways: GatewayFixture) -> None:
    server = await gateways.serve()
    async with Beside(gateways, server):
        for _ in range(10):
            clients = [await gateways.connect(server) for _ in range(50)]
            for client in clients[::2]:
                await client.write(client.upgrade_bytes())
            for client in clients:
                client.reset()
        await until(lambda: server.connections == HONEST_COUNT)
