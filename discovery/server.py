"""Discovery's HTTP server: thin routes over the table.

``POST /v1/beat``        msgpack Beat -> BeatAnswer; internal, needs the shared secret where one is set
``GET /v1/gateway``      JSON Assignment: where to connect; 503 with Retry-After when no gateway has free capacity, 429
                         when the client's address has too many unused tickets; ``?zone=a`` prefers gateways with this
                         label
``GET /v1/components``   JSON: the live components, for people and the dashboard
``POST /v1/places``      endpoints at other gateways for clients that have to move (`roost.discovery.moving`); internal
``POST /v1/drain``, ``/v1/rebalance``   orders of operators; they need the admin token
``GET /health /ready /metrics``

Pages of any origin, or of the allowed origins only, may read the GET routes (CORS). Their answers contain no secrets
but tickets, which every client may ask for. Refused requests are answered with JSON ``{code, message}``.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import Counter

from roost.discovery.connection_limiter import ConnectionLimiter
from roost.discovery.core.client_tickets import ClientTicketLimiter, ClientTicketLimits
from roost.discovery.core.labels import are_labels
from roost.discovery.core.retry_after import RetryAfterEstimator, Want
from roost.discovery.core.table import INTERVAL_S, TICKET_S, Component, Table
from roost.discovery.cors import ANY_PAGE, share_reads
from roost.discovery.heartbeats import MAX_BEAT_BYTES, read_checked_beat
from roost.discovery.moving import SERIAL_BYTES, MoveCoordinator
from roost.discovery.responses import in_json, refuse
from roost.wire.auth import NO_ADMIN, NO_SECRET, AdminToken, InternalSecret
from roost.wire.bind_addresses import nearest_place
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.codec import pack
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput
from roost.wire.messages.registry import Assignment, BeatAnswer, Choice, ComponentKind
from roost.wire.origins import AllowedOrigins
from roost.wire.service import add_admin_routes
from roost.wire.tokens import Keyring, Ticket

log = logging.getLogger(__name__)

ALTERNATES = 2
"""Further gateways in an answer, for a client that cannot reach the first one."""

BACKLOG = 4096
"""Connections that the kernel may queue for us; it queues fewer where its own limit (net.core.somaxconn) is lower."""

_BEATS = Counter("roost_discovery_beats", "Heartbeats accepted", ["kind"])
_ASSIGNED = Counter("roost_discovery_assigned", "Clients that were given a gateway")
_TURNED_AWAY = Counter("roost_discovery_turned_away", "Clients refused because no gateway had free capacity")
_GREEDY = Counter("roost_discovery_greedy", "Clients refused because their address had too many unused tickets")

EVERYWHERE = "0.0.0.0"  # noqa: S104  what an empty host means

YOUNG_BEATS = 2
"""Heartbeat intervals after which a new replica has heard from every live component."""

_REASONS = {
    Want.OF_ROOM: "no gateway has free capacity",
    Want.OF_GATEWAYS: "no gateway is known, or all of them are draining",
    Want.OF_BEATS: "discovery has just started and waits for gateways to report",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_plain_root(app: web.Application) -> None:
    """Add a plain text answer at `/`, for an application that has no pages of its own there."""

    async def root(_: web.Request) -> web.Response:
        return web.Response(
            text="Roost discovery. /v1/gateway tells a client where to connect; /v1/components lists live components.\n"
        )

    app.router.add_get("/", root)


class Discovery:
    """One replica of discovery.

    `keyring` signs tickets; the gateways must accept its keys. `secret` protects heartbeats, `admin` the orders of
    operators. Pages of `origins` may read the answers. `add_pages` adds further routes, among them `/`. `port` 0 picks
    a free port.
    """

    def __init__(
        self,
        host: str,
        port: int,
        keyring: Keyring,
        *,
        secret: InternalSecret = NO_SECRET,
        admin: AdminToken = NO_ADMIN,
        interval_s: float = INTERVAL_S,
        ticket_s: int = TICKET_S,
        limits: ClientTicketLimits = ClientTicketLimits(),  # noqa: B008  frozen
        origins: AllowedOrigins = ANY_PAGE,
        add_pages: Callable[[web.Application], None] = add_plain_root,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._host, self._port = host, port
        self._keyring, self._clock = keyring, clock
        self._secret, self._admin = secret, admin
        self._interval_s, self._ticket_s = interval_s, ticket_s
        self._add_pages, self._origins = add_pages, origins
        self._rng = random.SystemRandom()
        self._born = clock.monotonic()
        self._table = Table(self._born, interval_s, ticket_s)
        self._retry_after = RetryAfterEstimator(clock.monotonic())
        self._ticket_limiter = ClientTicketLimiter(limits)
        self._runner: web.AppRunner | None = None
        self._connections: ConnectionLimiter | None = None
        self._ready = False

    @property
    def url(self) -> str:
        """Base URL for clients on this machine, once started: loopback where it listens on every address."""
        return f"http://{nearest_place(self._host, self._port)}"

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        connections = self._connections = ConnectionLimiter(self._clock)
        middlewares = [connections.stay, share_reads(self._origins), answer_in_json]
        app = web.Application(client_max_size=MAX_BEAT_BYTES, middlewares=middlewares)
        app.router.add_post("/v1/beat", self._take_beat)
        app.router.add_get("/v1/gateway", self._assign)
        app.router.add_get("/v1/components", self._list_components)
        add_admin_routes(app, lambda: self._ready)
        self._add_pages(app)
        self._born = self._clock.monotonic()
        self._table = Table(self._born, self._interval_s, self._ticket_s)
        random_number = self._rng.random
        self._moves = MoveCoordinator(
            self._table, self._clock, random_number, self._make_choice, self._secret, self._admin
        )
        self._moves.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        assert self._runner.server is not None
        try:
            self._port = connections.start(self._runner.server, self._host or EVERYWHERE, self._port, BACKLOG)
        except OSError:
            await self._runner.cleanup()
            raise
        self._ready = True

    async def drain(self) -> None:
        """Report not ready, so that load balancers choose other replicas; requests are still answered."""
        self._ready = False

    async def stop(self) -> None:
        self._ready = False
        if self._connections is not None:
            self._connections.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take_beat(self, request: web.Request) -> web.Response:
        if not self._secret.admits(request.headers):
            return refuse(401, ErrorCode.BAD_TOKEN, "heartbeats need the shared secret of this system")
        beat = read_checked_beat(await request.read())
        now = self._clock.monotonic()
        if self._table.beat(beat, now):
            _BEATS.labels(beat.kind).inc()
        directions = self._moves.directions(beat, now)
        locks = self._table.addresses(ComponentKind.LOCK)
        workers = self._table.names(ComponentKind.WORKER) if beat.kind is ComponentKind.WORKER else []
        answer = BeatAnswer(beat.sequence, self._table.interval_s, locks, directions, workers)
        return web.Response(body=pack(answer), content_type="application/msgpack")

    async def _assign(self, request: web.Request) -> web.Response:
        """Answer a client and close its connection: clients ask once, and open connections would use up descriptors."""
        if request.transport is None or request.transport.is_closing():
            return web.Response(status=499)  # the client is gone; a reservation for it would not be used
        response = self._find_gateway(request)
        response.force_close()
        return response

    def _find_gateway(self, request: web.Request) -> web.Response:
        now = self._clock.monotonic()
        self._table.expire(now)
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        site = self._ticket_limiter.place_of(request.remote or "", forwarded)
        if site and self._ticket_limiter.has_too_many(self._table.unused(site)):
            _GREEDY.inc()
            wait_s = self._ticket_limiter.refuse(site, now)
            reason = "this address has too many unused tickets"
            return refuse(429, ErrorCode.OVERLOADED, f"{reason}: ask again in {wait_s} s", wait_s)
        wanted = dict(request.query)
        if not are_labels(wanted):
            raise BadInput(ErrorCode.BAD_MESSAGE, "ask for few, short labels: /v1/gateway?zone=a")
        chosen = self._table.choose_with_alternates(now, self._rng.random(), ALTERNATES, wanted.items())
        if not chosen:
            _TURNED_AWAY.inc()
            want = self._want(now)
            wait_s = self._retry_after.refuse(now, want)
            return refuse(503, ErrorCode.OVERLOADED, f"{_REASONS[want]}: ask again in {wait_s} s", wait_s)
        serial = secrets.token_bytes(SERIAL_BYTES)
        self._table.reserve(serial, chosen[0], now, site)
        self._retry_after.admit(now)
        _ASSIGNED.inc()
        first, *others = (self._make_choice(gateway, serial) for gateway in chosen)
        return in_json(Assignment(first.url, first.ticket, self._ticket_s, others))

    def _want(self, now: float) -> Want:
        """Why there is no gateway for a client."""
        if self._table.addresses(ComponentKind.GATEWAY):
            return Want.OF_ROOM
        is_young = now - self._born < YOUNG_BEATS * self._interval_s
        return Want.OF_BEATS if is_young else Want.OF_GATEWAYS

    def _make_choice(self, gateway: Component, serial: bytes) -> Choice:
        """The gateway's address and a ticket for it.

        Alternates get tickets with the same serial: using any of them ends the reservation.
        """
        expires = int(self._clock.wall()) + self._ticket_s
        ticket = Ticket(expires, gateway.beat.incarnation, serial)
        return Choice(gateway.beat.address, self._keyring.sign_ticket(ticket))

    async def _list_components(self, _: web.Request) -> web.Response:
        now = self._clock.monotonic()
        self._table.expire(now)
        return in_json({"components": [describe(component, now) for component in self._table.components()]})


def describe(component: Component, now: float) -> dict[str, object]:
    """The entry of a component in ``/v1/components``. Times are in seconds."""
    beat = component.beat
    return {
        "kind": beat.kind,
        "incarnation": beat.incarnation,
        "address": beat.address,
        "version": beat.version,
        "capacity": beat.capacity,
        "load": beat.load,
        "reserved": component.reserved,
        "moving": beat.moving,
        "lag_ms": beat.lag_ms,
        "draining": beat.draining,
        "known_s": round(now - component.since, 3),
        "silent_s": round(now - component.heard, 3),
        "labels": beat.labels,
        "counters": beat.counters,
    }


@web.middleware
async def answer_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with JSON ``{code, message}``."""
    try:
        return await handler(request)
    except BadInput as problem:
        return refuse(400, problem.code, problem.message)
    except web.HTTPRequestEntityTooLarge:
        return refuse(413, ErrorCode.TOO_BIG, f"the body is over {MAX_BEAT_BYTES} bytes")
    except web.HTTPException as problem:
        if problem.status < 400:
            raise
        return refuse(problem.status, problem.reason.lower().replace(" ", "_"), f"{request.method} {request.path}")
    except Exception:
        log.exception("request failed", extra={"action": "request_failed", "path": request.path})
        return refuse(500, ErrorCode.INTERNAL, "discovery failed on this request")
