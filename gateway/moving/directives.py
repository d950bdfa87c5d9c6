"""Carries out discovery's directives: drain on an operator's order, accept clients again, move some clients away."""

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
    """Carries out directives.

    A gateway that was ordered to drain moves all clients away and accepts none until the order is withdrawn.
    """

    def __init__(
        self, writer: ConnectionWriter, handshakes: HandshakeHandler, endpoints: EndpointPool, clock: Clock
    ) -> None:
        self._writer, self._handshakes, self._endpoints, self._clock = writer, handshakes, endpoints, clock
        self._rebalancer = Rebalancer(writer, endpoints, clock)
        self._leaving: asyncio.Task[None] | None = None

    def moving_count(self) -> int:
        """Return the number of clients told to move and not gone yet, and of endpoints reserved for more."""
        return self._rebalancer.moving_count()

    def follow(self, directives: GatewayDirectives) -> None:
        """Apply the newest directives, in the background."""
        if directives.leave is None:
            is_leaving = self._leaving is not None
            self._rebalancer.follow(0 if is_leaving else directives.give_away, directives.per_s)
        elif directives.leave and self._leaving is None:
            log.warning("drain started by operator", extra={"action": "told_to_leave", "window_s": directives.window_s})
            self._handshakes.accepting = False
            self._leaving = asyncio.create_task(self._leave(directives.window_s))
        elif not directives.leave and self._leaving is not None:
            log.warning("drain cancelled by operator", extra={"action": "told_to_come_back"})
            self._leaving.cancel()
            self._leaving = None
            self._handshakes.accepting = True

    async def stop(self) -> None:
        """Cancel everything in progress, because the gateway stops."""
        await self._rebalancer.stop()
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.gather(self._leaving, return_exceptions=True)
            self._leaving = None

    async def _leave(self, window_s: float) -> None:
        try:
            await self._rebalancer.stop()
            await send_away(self._writer, self._endpoints, window_s, self._clock)
        except Exception:
            log.exception("drain failed", extra={"action": "leaving_failed"})
