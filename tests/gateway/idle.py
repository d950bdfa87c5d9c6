"""What a crowd of idle connections costs the process in Python objects."""

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
"""Connections that come first: what is made once is made for them, as the buckets of the wheel, which are filled by
then, however many more connections come."""
CROWD_COUNT = 400


@dataclass(frozen=True, slots=True)
class Cost:
    """What came with the crowd: allocated blocks of memory, objects that the collector knows, and tasks."""

    blocks: int
    objects: int
    tasks: int


async def cost_of_a_crowd(server: Server, greet: Callable[[Client], Awaitable[None]]) -> Cost:
    """Open `CROWD_COUNT` connections, `greet` on each and let it idle; what they cost altogether.

    The far ends are in the same process, and are kept as numbers of descriptors in an array, which cost no object.
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
    await asyncio.sleep(0.05)  # what a turn of the loop leaves behind for the next one is done with
    gc.collect()
    return sys.getallocatedblocks(), len(gc.get_objects()), len(asyncio.all_tasks())
