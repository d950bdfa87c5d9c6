"""How clients are moved: ``POST /v1/places``, by which a gateway reserves places at others for clients of its own.

One request (msgpack `ReservePlaces` -> `Places`) reserves many, each with a ticket of its own. They are spread by the
choice that newcomers are spread by, and count as load from now on, so that the moved and the new do not meet at one
door; who is in a zone (a label of the gateway's) stays there if there is room. Guarded by the shared secret of the
system, or the operator's token.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from aiohttp import web

from discovery.answers import refuse
from discovery.table import Component, Table
from wire.clock import Clock
from wire.codec import pack
from wire.codes import ErrorCode
from wire.internal import AdminToken, InternalSecret
from wire.messages.moves import Place, Places, ReservePlaces, read_reserve_places
from wire.messages.registry import Choice

SERIAL_BYTES = 12

Sign = Callable[[Component, bytes], Choice]
"""A gateway's address, and the ticket with this serial for it."""


class Moves:
    """The routes, over the table of one replica. `draw` gives chance in [0, 1)."""

    def __init__(
        self,
        table: Table,
        clock: Clock,
        draw: Callable[[], float],
        sign: Sign,
        secret: InternalSecret,
        admin: AdminToken,
    ) -> None:
        self._table, self._clock, self._draw, self._sign = table, clock, draw, sign
        self._secret, self._admin = secret, admin

    def add_routes(self, app: web.Application) -> None:
        """Put them beside discovery's others."""
        app.router.add_post("/v1/places", self._reserve)

    async def _reserve(self, request: web.Request) -> web.Response:
        if not (self._secret.admits(request.headers) or self._admin.admits(request.headers)):
            return refuse(401, ErrorCode.BAD_TOKEN, "places need the shared secret of this system")
        asked = read_reserve_places(await request.read())
        places = self.reserve(asked, self._clock.monotonic())
        return web.Response(body=pack(Places(places, int(self._table.ticket_s))), content_type="application/msgpack")

    def reserve(self, asked: ReservePlaces, now: float) -> list[Place]:
        """Reserve up to as many places as are asked for."""
        table = self._table
        asking = table.find(asked.gateway)
        wanted = asking.labels if asking is not None else frozenset()
        places: list[Place] = []
        while len(places) < asked.count:
            best = table.choose(now, self._draw(), 2, wanted)
            chosen = next((gateway for gateway in best if gateway.beat.incarnation != asked.gateway), None)
            if chosen is None:
                break
            serial = secrets.token_bytes(SERIAL_BYTES)
            table.reserve(serial, chosen, now)
            choice = self._sign(chosen, serial)
            places.append(Place(choice.url, choice.ticket))
        return places
