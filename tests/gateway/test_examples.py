"""The examples do what their docstrings say."""

from __future__ import annotations

import asyncio

from roost.gateway.examples.broadcast import Broadcast
from roost.gateway.examples.chat import Chat
from roost.gateway.examples.echo import Echo
from tests.gateway.harness import GatewayFixture, until
from tests.gateway.test_server import refusal_of


async def test_echo_sends_every_message_back(gateways: GatewayFixture) -> None:
    client = await gateways.open(await gateways.serve(Echo()))
    for message in ("text", b"binary"):
        await client.say(message)
        assert await client.hear() == message


async def test_broadcast_reaches_everybody_and_is_encoded_once(gateways: GatewayFixture) -> None:
    server = await gateways.serve(Broadcast())
    clients = [await gateways.open(server) for _ in range(700)]
    await clients[5].say("to all")
    heard = await asyncio.gather(*(client.hear() for client in clients))
    assert heard == ["to all"] * 700


async def test_a_chat_room_hears_its_guests_come_speak_and_leave_and_no_other_room_does(
    gateways: GatewayFixture,
) -> None:
    server = await gateways.serve(Chat())
    ada = await gateways.open(server, "/tea?name=Ada")
    assert await ada.hear() == "* you are in /tea with Ada"
    bob = await gateways.open(server, "/tea?name=Bob")
    assert await bob.hear() == "* you are in /tea with Ada, Bob"
    assert await ada.hear() == "* Bob has come"
    eve = await gateways.open(server, "/coffee?name=Eve")
    assert await eve.hear() == "* you are in /coffee with Eve"
    await bob.say("hello")
    assert [await ada.hear(), await bob.hear()] == ["Bob: hello"] * 2
    bob.reset()
    assert await ada.hear() == "* Bob has left"
    await eve.say("only me here")
    assert await eve.hear() == "Eve: only me here"


async def test_a_chat_room_refuses_who_has_no_name_and_closes_who_sends_binary(gateways: GatewayFixture) -> None:
    server = await gateways.serve(Chat())
    nobody = await gateways.connect(server)
    await nobody.write(nobody.upgrade_bytes("/tea"))
    assert (await refusal_of(nobody))[0] == 400
    ada = await gateways.open(server, "/tea?name=Ada")
    await ada.hear()
    await ada.say(b"\x00")
    assert (await ada.closed())[0] == 1003
    await until(lambda: server.counters.open_now == 0)
