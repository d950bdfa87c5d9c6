"""Moves clients away, a few at a time, when discovery finds that other gateways have less than their share.

No connection is closed for this. A client is told where to go and may ignore it; only applications with
`Application.on_move` move clients. The order is by descriptor, starting after the last one, which is roughly the order
of arrival: a client that was just moved here is not the next to be moved again. While discovery keeps asking, no client
is told twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from roost.gateway.api import Peer
from roost.gateway.connections.slots import OPEN
from roost.gateway.io.writer import ConnectionWriter
from roost.gateway.moving.endpoints import EndpointPool
from roost.wire.clock import Clock

log = logging.getLogger(__name__)

STEP_S = 0.05
"""Interval between two groups of peers."""

GRACE_S = 5.0
"""A client that has not left this long after it was told is considered to stay."""

LOOK_COUNT = 2000
"""Most descriptors checked in one step: a tenth of a millisecond."""


class Rebalancer:
    """Moves clients of one gateway away."""

    def __init__(self, writer: ConnectionWriter, endpoints: EndpointPool, clock: Clock) -> None:
        self._writer, self._endpoints, self._clock = writer, endpoints, clock
        self._moving: deque[tuple[float, Peer]] = deque()
        """Clients that were told to move, with the time until which they count as moving."""
        self._cursor = 0
        self._remaining: int | None = None
        """Descriptors that were not checked since discovery began to ask; None while it does not ask."""
        self._next: tuple[int, float] | None = None
        """The next order: how many clients, and how many per second."""
        self._task: asyncio.Task[None] | None = None

    def moving_count(self) -> int:
        """Return the number of clients told to move and not gone yet, and of endpoints reserved for more."""
        now = self._clock.monotonic()
        while self._moving and (self._moving[0][0] <= now or not self._moving[0][1].is_open):
            self._moving.popleft()
        reserved = self._endpoints.available_count if self._is_running() else 0
        return reserved + sum(peer.is_open for _, peer in self._moving)

    def follow(self, count: int, per_s: float) -> None:
        """Move `count` more clients, at most `per_s` a second. Replaces an order not yet begun; 0 ends rebalancing."""
        if not count or not self._endpoints.can_move:
            self._remaining = self._next = None
            return
        if self._remaining is None:
            self._remaining = len(self._writer.slots)
        self._next = count, per_s
        if not self._is_running():
            self._task = asyncio.create_task(self._run())

    def _is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def stop(self) -> None:
        """Stop moving clients."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _run(self) -> None:
        while self._remaining and self._next is not None:
            target, self._next = self._next, None
            await self._move_clients(*target)

    async def _move_clients(self, count: int, per_s: float) -> None:
        try:
            await self._endpoints.reserve(count, is_leaving=False)
            begun_s, moved = self._clock.monotonic(), 0
            while moved < count and self._endpoints.available_count and self._remaining:
                due = min(int((self._clock.monotonic() - begun_s) * per_s) + 1, count)
                moved += self._move_some(due - moved)
                await self._clock.sleep(max(STEP_S, 1 / per_s))
        except Exception:
            log.exception("rebalancing failed", extra={"action": "giveaway_failed"})
        finally:
            self._endpoints.clear()

    def _move_some(self, count: int) -> int:
        """Tell the next peers that are not busy to move; return how many were told."""
        slots, moved = self._writer.slots, 0
        for _ in range(min(LOOK_COUNT, self._remaining or 0)):
            if moved >= count or not self._endpoints.available_count:
                break
            fd = self._cursor = (self._cursor + 1) % len(slots)
            self._remaining = (self._remaining or 0) - 1
            peer = Peer(self._writer, fd, slots.generation[fd])
            if slots.state[fd] == OPEN and not self._endpoints.is_busy(peer) and self._endpoints.move(peer):
                self._moving.append((self._clock.monotonic() + GRACE_S, peer))
                moved += 1
        return moved
