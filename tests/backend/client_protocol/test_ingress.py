"""The client protocol as an application of a gateway, without the backend behind it."""

from __future__ import annotations

import json

import pytest

from bench.support.steps_kind import Steps
from roost.backend.broker.memory.memory_broker import MemoryBroker
from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.client_protocol.application import ClientProtocol
from roost.backend.client_protocol.settings import ClientProtocolSettings
from roost.backend.kinds.registry import Kinds
from roost.backend.lock.client import LockClient
from roost.wire.auth import NO_SECRET
from roost.wire.tokens import Keyring
from tests.gateway.connections.idle import CROWD_COUNT, cost_of_a_crowd
from tests.gateway.harness import Client, GatewayFixture, TickClock


async def greet(client: Client) -> None:
    """Say hello, as a client that has nothing to ask for yet."""
    await client.say(json.dumps({"type": "hello", "epoch": 1}))
    assert json.loads(await client.hear())["type"] == "welcome"


@pytest.mark.slow
async def test_i6_a_client_without_a_request_owns_no_object_and_no_task() -> None:
    locks = LockClient(list, NO_SECRET)
    ingress = ClientProtocol(
        ClientProtocolSettings("g"),
        MemoryBroker().connect(),
        MemoryCache(),
        locks,
        Kinds([Steps()]),
        Keyring.random(),
        TickClock(),
    )
    async with GatewayFixture() as gateways:
        cost = await cost_of_a_crowd(await gateways.serve(ingress, clock=TickClock()), greet)
    assert cost.blocks < CROWD_COUNT, cost
    assert cost.objects < CROWD_COUNT, cost
    assert cost.tasks == 0
    assert len(ingress.requests.live) == 0
