"""Giving clients away while others have less than their share of them: at discovery's word, a few at a time.

Nobody is closed for that. A client is told where to go, and stays if it does not: only applications that can tell their
peers (`Application.on_move`) give any away. Who is told goes round by descriptor, which is about the order of arrival:
who has just been moved here is not the next to be moved on. While discovery asks for more without a pause, nobody is
told twice.
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
"""Between two bunches of peers."""

GRACE_S = 5.0
"""Who has not left so long after it was told stays."""

LOOK_COUNT = 2000
"""Descriptors looked at in one step, at most: a tenth of a millisecond."""


class Rebalancer:
    """Gives away clients of one gateway."""

    def __init__(self, links: ConnectionWriter, moves: EndpointPool, clock: Clock) -> None:
        self._links, self._moves, self._clock = links, moves, clock
        self._told: deque[tuple[float, Peer]] = deque()
        """Until when they count as moving, and who."""
        self._cursor = 0
        self._unseen: int | None = None
        """Descriptors that have not been looked at since discovery began to ask."""
        self._wanted: tuple[int, float] | None = None
        """How many are to go next, and how many a second."""
        self._task: asyncio.Task[None] | None = None

    def moving_count(self) -> int:
        """Peers that have been told to go and are about to, and places that are kept for the next."""
        now = self._clock.monotonic()
        while self._told and (self._told[0][0] <= now or not self._told[0][1].is_open):
            self._told.popleft()
        places = self._moves.place_count if self._is_giving() else 0
        return places + sum(peer.is_open for _, peer in self._told)

    def follow(self, count: int, per_s: float) -> None:
        """Give `count` more away, at most `per_s` a second, in place of what was wanted next; 0 ends it."""
        if not count or not self._moves.can_tell:
            self._unseen = self._wanted = None
            return
        if self._unseen is None:
            self._unseen = len(self._links.slots)
        self._wanted = count, per_s
        if not self._is_giving():
            self._task = asyncio.create_task(self._give_on())

    def _is_giving(self) -> bool:
        return self._task is not None and not self._task.done()

    async def stop(self) -> None:
        """Tell nobody any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _give_on(self) -> None:
        while self._unseen and self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            await self._give(*wanted)

    async def _give(self, count: int, per_s: float) -> None:
        try:
            await self._moves.stock(count, is_leaving=False)
            begun_s, told = self._clock.monotonic(), 0
            while told < count and self._moves.place_count and self._unseen:
                due = min(int((self._clock.monotonic() - begun_s) * per_s) + 1, count)
                told += self._tell_some(due - told)
                await self._clock.sleep(max(STEP_S, 1 / per_s))
        except Exception:
            log.exception("giving clients away failed", extra={"action": "giveaway_failed"})
        finally:
            self._moves.drop_stock()

    def _tell_some(self, count: int) -> int:
        """Tell the next peers, if they are not busy; how many were told."""
        slots, told = self._links.slots, 0
        for _ in range(min(LOOK_COUNT, self._unseen or 0)):
            if told >= count or not self._moves.place_count:
                break
            fd = self._cursor = (self._cursor + 1) % len(slots)
            self._unseen = (self._unseen or 0) - 1
            peer = Peer(self._links, fd, slots.generation[fd])
            if slots.state[fd] == OPEN and not self._moves.is_busy(peer) and self._moves.tell(peer):
                self._told.append((self._clock.monotonic() + GRACE_S, peer))
                told += 1
        return told
