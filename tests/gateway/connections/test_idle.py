"""An idle connection costs a descriptor and cells of arrays (I6)."""

from __future__ import annotations

import asyncio

import pytest

from roost.gateway.api import Application, Message, Peer
from roost.gateway.examples.echo import Echo
from tests.gateway.connections.idle import CROWD_COUNT, cost_of_a_crowd
from tests.gateway.harness import Client, GatewayFixture, TickClock


class Talkative(Echo):
    """An echo with the subprotocol of jobs."""

    subprotocols = ("roost.v1",)


class Hoarder(Application):
    """Keeps one task per peer."""

    subprotocols = ("roost.v1",)

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[bool]] = []

    def on_open(self, peer: Peer) -> None:
        self._tasks.append(asyncio.create_task(asyncio.Event().wait()))

    def on_message(self, peer: Peer, message: Message) -> None:
        peer.send(message)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


async def greet(client: Client) -> None:
    """Exchange one message, like a client that was active and is now idle."""
    await client.say("hello")
    assert await client.hear() == "hello"


@pytest.mark.slow
async def test_i6_an_idle_connection_owns_no_object_and_no_task(gateways: GatewayFixture) -> None:
    cost = await cost_of_a_crowd(await gateways.serve(Talkative(), clock=TickClock()), greet)
    assert cost.blocks < CROWD_COUNT, cost
    assert cost.objects < CROWD_COUNT, cost
    assert cost.tasks == 0


@pytest.mark.slow
async def test_an_application_that_keeps_an_object_for_each_connection_is_noticed(gateways: GatewayFixture) -> None:
    cost = await cost_of_a_crowd(await gateways.serve(Hoarder(), clock=TickClock()), greet)
    assert cost.blocks > CROWD_COUNT
    assert cost.objects > CROWD_COUNT
    assert cost.tasks == CROWD_COUNT
