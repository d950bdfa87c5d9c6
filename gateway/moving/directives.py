"""What discovery asks of a gateway: to leave, at an operator's order, to come back, to give clients away."""

from __future__ import annotations

import asyncio
import logging

from roost.gateway.admission.handshake_handler import HandshakeHandler
from roost.gateway.io.writer import ConnectionWriter
from roost.gateway.moving.drain import send_away
from roost.gateway.moving.endpoints import EndpointPool
from roost.gateway.moving.rebalancer import Rebalancer
from roost.wire.clock import Clock
from roost.wire.messages.moving import GatewayDirectives

log = logging.getLogger(__name__)


class DirectiveHandler:
    """Follows directions. A gateway that was told to leave holds nobody and lets nobody in, until it may again."""

    def __init__(self, links: ConnectionWriter, door: HandshakeHandler, moves: EndpointPool, clock: Clock) -> None:
        self._links, self._door, self._moves, self._clock = links, door, moves, clock
        self._giveaway = Rebalancer(links, moves, clock)
        self._leaving: asyncio.Task[None] | None = None

    def moving_count(self) -> int:
        """Clients that have been told to go elsewhere and are about to."""
        return self._giveaway.moving_count()

    def follow(self, directions: GatewayDirectives) -> None:
        """Act on the newest directions, in the background."""
        if directions.leave is None:
            is_leaving = self._leaving is not None
            self._giveaway.follow(0 if is_leaving else directions.give_away, directions.per_s)
        elif directions.leave and self._leaving is None:
            log.warning("told to leave", extra={"action": "told_to_leave", "window_s": directions.window_s})
            self._door.is_shut = True
            self._leaving = asyncio.create_task(self._leave(directions.window_s))
        elif not directions.leave and self._leaving is not None:
            log.warning("told to come back", extra={"action": "told_to_come_back"})
            self._leaving.cancel()
            self._leaving = None
            self._door.is_shut = False

    async def stop(self) -> None:
        """The gateway ends: what is under way is called off."""
        await self._giveaway.stop()
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.gather(self._leaving, return_exceptions=True)
            self._leaving = None

    async def _leave(self, window_s: float) -> None:
        try:
            await self._giveaway.stop()
            await send_away(self._links, self._moves, window_s, self._clock)
        except Exception:
            log.exception("leaving failed", extra={"action": "leaving_failed"})
