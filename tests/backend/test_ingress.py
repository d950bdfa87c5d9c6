"""The client protocol as an application of a gateway, without the backend behind it."""

from __future__ import annotations

import json

from backend.broker.memory import MemoryBroker
from backend.cache.memory import MemoryCache
from backend.ingress.application import Ingress
from backend.ingress.requests import IngressSettings
from backend.kinds.registry import Kinds
from backend.lock.client import LockClient
from tests.gateway.harness import Client, House, TickClock
from tests.gateway.idle import CROWD_COUNT, cost_of_a_crowd
from tests.system.steps import Steps
from wire.internal import NO_SECRET
from wire.tokens import Keyring


async def greet(client: Client) -> None:
    """Say hello, as a client that has nothing to ask for yet."""
    await client.say(json.dumps({"type": "hello", "epoch": 1}))
    assert json.loads(await client.hear())["type"] == "welcome"


async def test_i6_a_client_without_a_request_owns_no_object_and_no_task() -> None:
    locks = LockClient(list, NO_SECRET)
    ingress = Ingress(
        IngressSettings("g"),
        MemoryBroker().connect(),
        MemoryCache(),
        locks,
        Kinds([Steps()]),
        Keyring.random(),
        TickClock(),
    )
    async with House() as house:
        cost = await cost_of_a_crowd(await house.serve(ingress, clock=TickClock()), greet)
    assert cost.blocks < CROWD_COUNT, cost
    assert cost.objects < CROWD_COUNT, cost
    assert cost.tasks == 0
    assert len(ingress.requests.live) == 0
