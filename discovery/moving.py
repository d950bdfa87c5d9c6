"""How clients are moved between gateways: who asks for it, how many go, and where.

``POST /v1/places``     msgpack `ReserveEndpoints` -> `ReserveEndpoints`: a gateway reserves places at others for
clients of its own ``POST /v1/drain``      JSON `DrainOrder`: an operator wants a gateway empty, or back ``POST
/v1/rebalance``  an operator wants all gateways equally full, now

One request reserves many places, each with a ticket of its own. They are spread by the choice that newcomers are spread
by, and count as load from now on, so that the moved and the new do not meet at one door; who is in a zone (a label of
the gateway's) stays there if there is room. Places need the shared secret of the system or the operator's token, orders
need the token. What gateways are asked to do goes to them in the answers to their beats; that a gateway drains is then
its own business, which it tells every replica.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from aiohttp import web

from roost.discovery.core.balance import Balance, in_time, rooms
from roost.discovery.core.component import GIVES_WAY
from roost.discovery.core.table import Component, Table
from roost.discovery.responses import in_json, refuse
from roost.wire.auth import AdminToken, InternalSecret
from roost.wire.clock import Clock
from roost.wire.codec import pack
from roost.wire.codes import ErrorCode
from roost.wire.messages.moving import (
    DrainOrder,
    Endpoint,
    Endpoints,
    GatewayDirectives,
    ReserveEndpoints,
    read_drain_order,
)
from roost.wire.messages.moving import read_reserve_endpoints as read_request
from roost.wire.messages.registry import Beat, Choice, ComponentKind

SERIAL_BYTES = 12

ORDER_S = 10.0
"""How long a gateway may take to say that it follows an order; one that never hears of it is gone."""

NO_OPERATORS = "no admin token is set here: start discovery with ROOST_ADMIN_TOKEN in its environment"
NO_OPERATOR = "this needs the admin token: set ROOST_ADMIN_TOKEN to the one that discovery was started with"

Sign = Callable[[Component, bytes], Choice]
"""A gateway's address, and the ticket with this serial for it."""


class MoveCoordinator:
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
        self._balance = Balance()
        self._orders: dict[str, tuple[DrainOrder, float]] = {}
        """By incarnation: what it is to do, and until when it is told."""

    def add_routes(self, app: web.Application) -> None:
        """Put them beside discovery's others."""
        app.router.add_post("/v1/places", self._reserve)
        app.router.add_post("/v1/drain", self._drain)
        app.router.add_post("/v1/rebalance", self._rebalance)

    def directions(self, beat: Beat, now: float) -> GatewayDirectives:
        """What the component that beats is asked to do."""
        gateway = self._table.find(beat.incarnation)
        if gateway is None or beat.kind is not ComponentKind.GATEWAY:
            return GatewayDirectives()
        order, until = self._orders.get(beat.incarnation, (None, now))
        if order is not None and (beat.draining is not order.undo or until <= now):
            del self._orders[beat.incarnation]
        elif order is not None:
            return GatewayDirectives(leave=not order.undo, window_s=order.window_s)
        count, per_s = self._balance.surplus(gateway, self._table.gateways(), now)
        return GatewayDirectives(give_away=in_time(count, per_s, self._table.interval_s), per_s=per_s)

    async def _reserve(self, request: web.Request) -> web.Response:
        if not (self._secret.admits(request.headers) or self._admin.admits(request.headers)):
            return refuse(401, ErrorCode.BAD_TOKEN, "places need the shared secret of this system")
        asked = read_request(await request.read())
        places = self._find_places(asked, self._clock.monotonic())
        return web.Response(body=pack(Endpoints(places, int(self._table.ticket_s))), content_type="application/msgpack")

    def _find_places(self, asked: ReserveEndpoints, now: float) -> list[Endpoint]:
        """Reserve up to as many places as are asked for."""
        self._table.expire(now)
        asking = self._table.find(asked.gateway)
        labels = asking.labels if asking is not None else frozenset()
        gateways = self._table.gateways()
        has_less = None if asked.is_leaving else rooms(labels, gateways)
        places: list[Endpoint] = []
        while len(places) < asked.count:
            best = self._table.choose(now, self._draw(), 2 if has_less is None else len(gateways), labels)
            chosen = next((g for g in best if g is not asking and _suits(g, has_less)), None)
            if chosen is None:
                break
            if has_less is not None:
                has_less[chosen] -= 1
            serial = secrets.token_bytes(SERIAL_BYTES)
            self._table.reserve(serial, chosen, now)
            choice = self._sign(chosen, serial)
            places.append(Endpoint(choice.url, choice.ticket))
        if asking is not None:
            asking.leaving += len(places)
        return places

    def _refuse(self, request: web.Request) -> web.Response | None:
        """Why this is no operator; None for one."""
        if self._admin.admits(request.headers):
            return None
        if not self._admin.value:
            return refuse(403, ErrorCode.BAD_TOKEN, NO_OPERATORS)
        return refuse(401, ErrorCode.BAD_TOKEN, NO_OPERATOR)

    async def _drain(self, request: web.Request) -> web.Response:
        refused = self._refuse(request)
        if refused is not None:
            return refused
        order, now = read_drain_order(await request.read()), self._clock.monotonic()
        self._table.expire(now)
        gateway = self._named(order.gateway)
        if gateway is None:
            known = ", ".join(self._addresses()) or "none"
            return refuse(404, "not_found", f"no gateway {order.gateway} is known; there are: {known}")
        beat = gateway.beat
        if beat.load and not (order.undo or order.force or self._has_others(gateway, now)):
            advice = "they would have nowhere to go: start another, or ask with force (roost drain --force)"
            return refuse(409, "last_gateway", f"no other gateway takes clients, {advice}")
        self._orders = {name: (other, until) for name, (other, until) in self._orders.items() if until > now}
        self._orders[beat.incarnation] = order, now + ORDER_S
        is_done = beat.draining is not order.undo
        return in_json({"gateway": beat.address, "incarnation": beat.incarnation, "load": beat.load, "done": is_done})

    async def _rebalance(self, request: web.Request) -> web.Response:
        refused = self._refuse(request)
        if refused is not None:
            return refused
        self._table.expire(self._clock.monotonic())
        return in_json({"to_move": self._balance.ask(self._table.gateways())})

    def _has_others(self, gateway: Component, now: float) -> bool:
        """Whether another gateway takes clients, and has not been told to leave either."""
        leaving = {name for name, (order, until) in self._orders.items() if until > now and not order.undo}
        others = (other.beat for other in self._table.gateways() if other is not gateway)
        return any(not beat.draining and beat.incarnation not in leaving for beat in others)

    def _addresses(self) -> list[str]:
        return sorted(gateway.beat.address for gateway in self._table.gateways())

    def _named(self, name: str) -> Component | None:
        """The gateway of this incarnation or address, which may be without its scheme."""
        wanted = name.rstrip("/")
        for gateway in self._table.gateways():
            address = gateway.beat.address.rstrip("/")
            if wanted in (gateway.beat.incarnation, address, address.partition("://")[2]):
                return gateway
        return None


def _suits(gateway: Component, has_less: dict[Component, int] | None) -> bool:
    """For balance, only one with less than its share, that is well, and grown up enough for more."""
    return has_less is None or (has_less.get(gateway, 0) > 0 and gateway.rank < GIVES_WAY)
