"""Telling peers to go to another gateway, each to a place that was reserved for it."""

from __future__ import annotations

from typing import Protocol

from roost.gateway.api import Application, Endpoint, Peer
from roost.gateway.io.writer import ConnectionWriter
from roost.wire.messages import moving as wire

BATCH_COUNT = wire.MAX_ENDPOINTS
"""Places reserved at a time."""


class ReserveEndpoints(Protocol):
    """Where places come from: discovery."""

    async def __call__(self, count: int, *, is_leaving: bool) -> list[wire.Endpoint]:
        """At most `count` places; none when there is no other gateway, or nobody answers. Never raises.

        A gateway that is leaving takes what there is; otherwise only gateways with less than their share are named.
        """


async def nowhere(count: int, *, is_leaving: bool) -> list[wire.Endpoint]:
    """For a gateway on its own."""
    return []


class EndpointPool:
    """Tells peers of `writer` where to go, if their application can; what is left of a batch of places waits here."""

    def __init__(self, writer: ConnectionWriter, reserve: ReserveEndpoints) -> None:
        self._writer, self._reserve = writer, reserve
        self._endpoints: list[wire.Endpoint] = []
        self.can_move = getattr(type(writer.app), "on_move", Application.on_move) is not Application.on_move

    @property
    def available_count(self) -> int:
        """Places at hand."""
        return len(self._endpoints)

    async def reserve(self, count: int, *, is_leaving: bool) -> None:
        """Have `count` places at hand, as far as there are so many."""
        while self.can_move and len(self._endpoints) < count:
            new = await self._reserve(min(count - len(self._endpoints), BATCH_COUNT), is_leaving=is_leaving)
            if not new:
                break
            self._endpoints = new[::-1] + self._endpoints

    def clear(self) -> None:
        """Places that were not used are free again when their tickets expire."""
        self._endpoints.clear()

    def is_busy(self, peer: Peer) -> bool:
        """Whether part of a message is on its way, in either direction."""
        return peer.fd in self._writer.parsers or peer.fd in self._writer.outboxes

    def move(self, peer: Peer, after_s: float = 0.0) -> bool:
        """Give a peer that is not busy the next place; False when its application says not now."""
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
