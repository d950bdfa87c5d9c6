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
    """Tells peers of `links` where to go, if their application can; what is left of a batch of places waits here."""

    def __init__(self, links: ConnectionWriter, places: ReserveEndpoints) -> None:
        self._links, self._places = links, places
        self._stock: list[wire.Endpoint] = []
        self.can_tell = getattr(type(links.app), "on_move", Application.on_move) is not Application.on_move

    @property
    def place_count(self) -> int:
        """Places at hand."""
        return len(self._stock)

    async def stock(self, count: int, *, is_leaving: bool) -> None:
        """Have `count` places at hand, as far as there are so many."""
        while self.can_tell and len(self._stock) < count:
            new = await self._places(min(count - len(self._stock), BATCH_COUNT), is_leaving=is_leaving)
            if not new:
                break
            self._stock = new[::-1] + self._stock

    def drop_stock(self) -> None:
        """Places that were not used are free again when their tickets expire."""
        self._stock.clear()

    def is_busy(self, peer: Peer) -> bool:
        """Whether part of a message is on its way, in either direction."""
        return peer.fd in self._links.parsers or peer.fd in self._links.outboxes

    def tell(self, peer: Peer, after_s: float = 0.0) -> bool:
        """Give a peer that is not busy the next place; False when its application says not now."""
        place = self._stock[-1]
        is_told = False

        def on_move(peer: Peer) -> None:
            nonlocal is_told
            is_told = self._links.app.on_move(peer, Endpoint(place.url, place.ticket, after_s))

        self._links.call(peer.fd, on_move)
        if is_told:
            self._stock.pop()
            self._links.counters.moves += 1
        return is_told
