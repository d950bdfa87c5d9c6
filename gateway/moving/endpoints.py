"""Reserves endpoints at other gateways and tells peers to move to them.

An endpoint is the URL of a gateway and a ticket, for which discovery reserves capacity there for one client.
"""

from __future__ import annotations

from typing import Protocol

from roost.gateway.api import Application, Endpoint, Peer
from roost.gateway.io.writer import ConnectionWriter
from roost.wire.messages import moving as wire

BATCH_COUNT = wire.MAX_ENDPOINTS
"""Largest number of endpoints reserved at a time."""


class ReserveEndpoints(Protocol):
    """Reserves endpoints at other gateways (discovery)."""

    async def __call__(self, count: int, *, is_leaving: bool) -> list[wire.Endpoint]:
        """Return at most `count` endpoints; none when no other gateway exists or discovery fails. Never raises.

        With `is_leaving`, any gateway with free capacity is used; otherwise only gateways with less than their share.
        """


async def nowhere(count: int, *, is_leaving: bool) -> list[wire.Endpoint]:
    """Return no endpoint: for a gateway without discovery."""
    return []


class EndpointPool:
    """Holds reserved endpoints and moves peers of `writer` to them, if the application implements `on_move`."""

    def __init__(self, writer: ConnectionWriter, reserve: ReserveEndpoints) -> None:
        self._writer, self._reserve = writer, reserve
        self._endpoints: list[wire.Endpoint] = []
        self.can_move = getattr(type(writer.app), "on_move", Application.on_move) is not Application.on_move

    @property
    def available_count(self) -> int:
        """Number of reserved endpoints."""
        return len(self._endpoints)

    async def reserve(self, count: int, *, is_leaving: bool) -> None:
        """Reserve endpoints until `count` are available, or no more can be had."""
        while self.can_move and len(self._endpoints) < count:
            new = await self._reserve(min(count - len(self._endpoints), BATCH_COUNT), is_leaving=is_leaving)
            if not new:
                break
            self._endpoints = new[::-1] + self._endpoints

    def clear(self) -> None:
        """Drop unused endpoints; discovery frees them when their tickets expire."""
        self._endpoints.clear()

    def is_busy(self, peer: Peer) -> bool:
        """Whether a message is partly received or partly sent."""
        return peer.fd in self._writer.parsers or peer.fd in self._writer.outboxes

    def move(self, peer: Peer, after_s: float = 0.0) -> bool:
        """Move a peer that is not busy to the next endpoint; return False when the application refuses for now."""
        endpoint = self._endpoints[-1]
        is_moving = False

        def on_move(peer: Peer) -> None:
            nonlocal is_moving
            is_moving = self._writer.app.on_move(peer, Endpoint(endpoint.url, endpoint.ticket, after_s))

        self._writer.call(peer.fd, on_move)
        if is_moving:
            self._endpoints.pop()
            self._writer.counters.moves += 1
        return is_moving
