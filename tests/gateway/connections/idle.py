"""Measures what many idle connections cost the process in Python objects."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from roost.gateway.server import Server
from tests.gateway.harness import Client

WARM_COUNT = 300
"""Connections opened before the measurement, so that objects that are created only once already exist. These include
the buckets of the wheel, which are full by then."""
CROWD_COUNT = 400


@dataclass(frozen=True, slots=True)
class Cost:
    """What the connections cost: allocated memory blocks, objects known to the garbage collector, and tasks."""

    blocks: int
    objects: int
    tasks: int


async def cost_of_a_crowd(server: Server, greet: Callable[[Client], Awaitable[None]]) -> Cost:
    """Open `CROWD_COUNT` connections, `greet` on each and let it idle; return their total cost.

    The clients' ends are in the same process. They are kept as descriptor numbers in an array, which costs no object.
    """
    far_ends = array("i")
    try:
        for _ in range(WARM_COUNT):
            far_ends.append(await _joined(server, greet))
        before = await _look()
        for _ in range(CROWD_COUNT):
            far_ends.append(await _joined(server, greet))
        after = await _look()
        assert server.connections == WARM_COUNT + CROWD_COUNT
        return Cost(*(now - then for now, then in zip(after, before, strict=True)))
    finally:
        for descriptor in far_ends:
            os.close(descriptor)


async def _joined(server: Server, greet: Callable[[Client], Awaitable[None]]) -> int:
    raw = socket.socket()
    raw.setblocking(False)
    client = Client(raw)
    await client.connect(server)
    await client.upgrade("/", ["roost.v1"])
    await greet(client)
    return raw.detach()


async def _look() -> tuple[int, int, int]:
    await asyncio.sleep(0.05)  # let the event loop finish what it has scheduled
    gc.collect()
    return sys.getallocatedblocks(), len(gc.get_objects()), len(asyncio.all_tasks())
