"""Sends one result to one peer: its parts in order, then `result`, no faster than the peer reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import UNSET, Raw

from roost.backend.client_protocol.active_requests import ActiveRequest, Stage
from roost.gateway.api import Peer
from roost.wire.clock import Clock
from roost.wire.codec import decompress, to_json
from roost.wire.errors import Unavailable
from roost.wire.failpoints import Point, reach
from roost.wire.messages.client import FromGateway, Part, Result
from roost.wire.messages.lock import ReadParts
from roost.wire.messages.outcome import PART_BYTES, Ending

PARTS_AT_ONCE = 4
"""Parts read in one call: at most 1 MiB of memory for each result that is being sent."""
UNSENT_BYTES = 128 * 1024
"""The next part is sent when the peer's outbox holds no more than this."""
PART_MOST_BYTES = 2 * PART_BYTES
"""Limit for decompressing a part: twice the size that a kind may produce."""
RETRY_S = 1.0

ReadPartsCall = Callable[[ReadParts], Awaitable[list[bytes]]]


def send(peer: Peer, message: FromGateway) -> bool:
    """Send one protocol message. Returns False when the connection is closed."""
    return peer.send(to_json(message).decode())


class WriteBackpressure:
    """Lets deliveries wait until the outbox of their peer has emptied."""

    def __init__(self) -> None:
        self._waiting: dict[Peer, list[asyncio.Future[None]]] = {}

    async def wait(self, peer: Peer) -> None:
        """Wait until at most `UNSENT_BYTES` are unsent, or the connection is closed."""
        while peer.is_open and peer.unsent_bytes > UNSENT_BYTES:
            drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(peer, []).append(drained)
            await drained

    def notify(self, peer: Peer) -> None:
        """Wake the waiting deliveries: the outbox is empty, or the connection is closed."""
        for drained in self._waiting.pop(peer, ()):
            if not drained.done():
                drained.set_result(None)


async def deliver(
    live: ActiveRequest,
    job: int,
    ending: Ending,
    parts: list[bytes] | None,
    read: ReadPartsCall,
    drains: WriteBackpressure,
    clock: Clock,
) -> bool:
    """Send the result. Returns False when the connection is closed or the request is no longer wanted.

    `parts` are all parts if they are known; with None they are read from the store with `read`. Raises DecodeError for
    a damaged part.
    """
    peer, request = live.peer, live.request
    seq = 0
    async for blob in _parts(job, ending, parts, read, clock, peer):
        await drains.wait(peer)
        if live.stage is not Stage.DELIVERING:
            return False
        data = Raw(decompress(blob, PART_MOST_BYTES))
        if not send(peer, Part(request, seq, data)):
            return False
        reach(Point.DELIVERY_PART)
        seq += 1
    summary = Raw(ending.summary) if ending.summary else UNSET
    return send(peer, Result(request, ending.outcome, ending.parts, summary, ending.failure))


async def _parts(
    job: int, ending: Ending, parts: list[bytes] | None, read: ReadPartsCall, clock: Clock, peer: Peer
) -> AsyncIterator[bytes]:
    if parts is not None:
        for blob in parts:
            yield blob
        return
    first = 0
    while first < ending.parts and peer.is_open:
        try:
            blobs = await read(ReadParts(job, ending.token, first, PARTS_AT_ONCE))
        except Unavailable:
            await clock.sleep(RETRY_S)
            continue
        if not blobs:
            return
        for blob in blobs:
            yield blob
        first += len(blobs)
