"""Sends one result to one peer: its parts in order, then `result`, as fast as the peer takes them and no faster."""

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
"""Parts fetched in one request: at most 1 MiB in memory for each result that is being sent."""
UNSENT_BYTES = 128 * 1024
"""The next part waits until the peer's outbox holds less than this."""
PART_MOST_BYTES = 2 * PART_BYTES
"""A kind that makes larger parts than allowed is stopped here."""
RETRY_S = 1.0

ReadPartsCall = Callable[[ReadParts], Awaitable[list[bytes]]]


def send(peer: Peer, message: FromGateway) -> bool:
    """Send one protocol message. False when the peer is gone."""
    return peer.send(to_json(message).decode())


class WriteBackpressure:
    """Who waits for which peer's outbox to empty."""

    def __init__(self) -> None:
        self._waiting: dict[Peer, list[asyncio.Future[None]]] = {}

    async def wait(self, peer: Peer) -> None:
        """Return when the peer has taken most of what was sent, or is gone."""
        while peer.is_open and peer.unsent_bytes > UNSENT_BYTES:
            drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(peer, []).append(drained)
            await drained

    def notify(self, peer: Peer) -> None:
        """The outbox is empty, or the peer is gone."""
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
    """Send the result; False when the peer went away, or wants it no more. `parts` are all, where they are at hand."""
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
