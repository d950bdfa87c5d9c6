"""Moves clients between gateways: which requests start a move, how many clients move, and to which gateways.

``POST /v1/places``     msgpack `ReserveEndpoints` -> `Endpoints`: a gateway reserves capacity at others for its clients
``POST /v1/drain``      JSON `DrainOrder`: an operator drains a gateway, or makes it accept clients again
``POST /v1/rebalance``  an operator makes all gateways equally full now

One request reserves many endpoints, each with a ticket of its own. They are chosen in the same way as for new clients,
and count as load at once, so that moved and new clients do not all go to the same gateway. Clients stay in their zone
(a label of the gateway) if it has free capacity. Reserving needs the system's shared secret or the admin token, orders
need the admin token. Directives reach gateways in the answers to their heartbeats. An order is sent to one replica; the
gateway that follows it then reports to every replica that it drains.
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
"""How long an order is repeated until the gateway reports that it follows it; a gateway that takes longer is dead."""

NO_OPERATORS = "no admin token is set here: start discovery with ROOST_ADMIN_TOKEN in its environment"
NO_OPERATOR = "this needs the admin token: set ROOST_ADMIN_TOKEN to the one that discovery was started with"

Sign = Callable[[Component, bytes], Choice]
"""Makes a gateway's address with a ticket for it that has this serial."""


class MoveCoordinator:
    """The routes for moves, over the table of one replica. `random_number` returns a number in [0, 1)."""

    def __init__(
        self,
        table: Table,
        clock: Clock,
        random_number: Callable[[], float],
        sign: Sign,
        secret: InternalSecret,
        admin: AdminToken,
    ) -> None:
        self._table, self._clock, self._random_number, self._sign = table, clock, random_number, sign
        self._secret, self._admin = secret, admin
        self._balance = Balance()
        self._orders: dict[str, tuple[DrainOrder, float]] = {}
        """By incarnation: the gateway's order, and until when it is repeated."""

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to discovery's application."""
        app.router.add_post("/v1/places", self._reserve)
        app.router.add_post("/v1/drain", self._drain)
        app.router.add_post("/v1/rebalance", self._rebalance)

    def directions(self, beat: Beat, now: float) -> GatewayDirectives:
        """The directives for the component that sent this heartbeat."""
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
            return refuse(401, ErrorCode.BAD_TOKEN, "reserving endpoints needs the shared secret of this system")
        asked = read_request(await request.read())
        found = Endpoints(self._find_endpoints(asked, self._clock.monotonic()), int(self._table.ticket_s))
        return web.Response(body=pack(found), content_type="application/msgpack")

    def _find_endpoints(self, asked: ReserveEndpoints, now: float) -> list[Endpoint]:
        """Reserve up to as many endpoints as are asked for."""
        self._table.expire(now)
        asking = self._table.find(asked.gateway)
        labels = asking.labels if asking is not None else frozenset()
        gateways = self._table.gateways()
        has_less = None if asked.is_leaving else rooms(labels, gateways)
        endpoints: list[Endpoint] = []
        while len(endpoints) < asked.count:
            best = self._table.choose(now, self._random_number(), 2 if has_less is None else len(gateways), labels)
            chosen = next((g for g in best if g is not asking and _suits(g, has_less)), None)
            if chosen is None:
                break
            if has_less is not None:
                has_less[chosen] -= 1
            serial = secrets.token_bytes(SERIAL_BYTES)
            self._table.reserve(serial, chosen, now)
            choice = self._sign(chosen, serial)
            endpoints.append(Endpoint(choice.url, choice.ticket))
        if asking is not None:
            asking.leaving += len(endpoints)
        return endpoints

    def _refuse(self, request: web.Request) -> web.Response | None:
        """The refusal for a request without the admin token; None when it has the token."""
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
            advice = "start another gateway, or drain it anyway with force (roost drain --force)"
            return refuse(409, "last_gateway", f"no other gateway accepts clients: {advice}")
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
        """Whether another gateway accepts clients and has not been told to drain either."""
        leaving = {name for name, (order, until) in self._orders.items() if until > now and not order.undo}
        others = (other.beat for other in self._table.gateways() if other is not gateway)
        return any(not beat.draining and beat.incarnation not in leaving for beat in others)

    def _addresses(self) -> list[str]:
        return sorted(gateway.beat.address for gateway in self._table.gateways())

    def _named(self, name: str) -> Component | None:
        """The gateway with this incarnation or address; the address may lack its scheme."""
        wanted = name.rstrip("/")
        for gateway in self._table.gateways():
            address = gateway.beat.address.rstrip("/")
            if wanted in (gateway.beat.incarnation, address, address.partition("://")[2]):
                return gateway
        return None


def _suits(gateway: Component, has_less: dict[Component, int] | None) -> bool:
    """Whether a client may move to the gateway.

    For balancing (`has_less` is not None), only to one that has fewer clients than its share, is healthy, and has not
    reached the limit of a newcomer.
    """
    return has_less is None or (has_less.get(gateway, 0) > 0 and gateway.rank < GIVES_WAY)
