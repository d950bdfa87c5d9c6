"""Builds each kind of process (lock server, master, worker, gateway) as a list of `Service`s in starting order.

A service that others connect to registers at discovery last, so that discovery never names a process that cannot work
yet. Services drain in the opposite order, so that it is also the first to drain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from roost.backend.broker.port import Broker
from roost.backend.cache.port import Cache
from roost.backend.client_protocol.application import ClientProtocol
from roost.backend.client_protocol.settings import ClientProtocolSettings
from roost.backend.engines import Engines
from roost.backend.kinds.api import RunnerTools
from roost.backend.kinds.registry import Kinds
from roost.backend.lock.client import LockClient
from roost.backend.lock.server import LockServer
from roost.backend.master.master import Master, MasterSettings
from roost.backend.store.port import StoreLimits
from roost.backend.worker.watchdog import Watchdog
from roost.backend.worker.worker import Worker, WorkerSettings
from roost.discovery.registrar import ComponentStatus, Registrar, new_incarnation
from roost.gateway.admission.jwt import JwtVerifier
from roost.gateway.server import Server
from roost.gateway.settings import Settings
from roost.wire.auth import NO_SECRET, InternalSecret
from roost.wire.bind_addresses import first_place, is_everywhere
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.errors import Misuse
from roost.wire.guards import exposure
from roost.wire.messages.moving import Endpoint, GatewayDirectives
from roost.wire.messages.registry import ComponentKind
from roost.wire.public_url import checked_public_url
from roost.wire.service import FunctionService, Service
from roost.wire.tokens import Keyring

SESSION_SLACK_S = 3600.0
"""A session stays valid this much longer (seconds) than a result is kept (P1)."""


@dataclass(frozen=True, slots=True)
class Site:
    """Settings that all processes of one deployment share.

    `discovery` returns the base URLs of the discovery replicas; call it only after they are known.
    """

    discovery: Callable[[], list[str]]
    keys: Keyring
    engines: Engines
    kinds: Kinds
    limits: StoreLimits = field(default_factory=StoreLimits)
    secret: InternalSecret = NO_SECRET
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = SYSTEM_CLOCK


class Registration:
    """A service that registers one component at discovery.

    The registrar is created by `start`, because the addresses of discovery are not known before.
    """

    def __init__(
        self,
        site: Site,
        kind: ComponentKind,
        name: str,
        address: Callable[[], str],
        vitals: Callable[[], ComponentStatus],
        follow: Callable[[GatewayDirectives], None] = lambda _: None,
    ) -> None:
        self._site, self._kind, self._name = site, kind, name
        self._address, self._vitals, self._follow = address, vitals, follow
        self._registrar: Registrar | None = None

    def locks(self) -> list[str]:
        """Return the base URLs of the live lock servers."""
        return self._registrar.locks() if self._registrar is not None else []

    async def reserve(self, count: int, *, is_leaving: bool) -> list[Endpoint]:
        """Reserve places at other gateways for `count` clients of this gateway; fewer may be returned."""
        return await self._registrar.reserve(count, is_leaving=is_leaving) if self._registrar is not None else []

    def workers(self) -> list[str]:
        """Return the incarnations of the live workers. Discovery tells only workers; others get an empty list."""
        return self._registrar.workers() if self._registrar is not None else []

    async def start(self) -> None:
        site = self._site
        self._registrar = Registrar(
            site.discovery(),
            self._kind,
            self._address,
            self._vitals,
            incarnation=self._name,
            version=site.version,
            labels=site.labels,
            follow=self._follow,
            secret=site.secret,
            clock=site.clock,
        )
        await self._registrar.start()

    async def drain(self) -> None:
        if self._registrar is not None:
            await self._registrar.drain()

    async def stop(self) -> None:
        if self._registrar is not None:
            await self._registrar.stop()


def lock_parts(site: Site, host: str, port: int, public_url: str = "") -> list[Service]:
    """Return the services of a lock server on `host` and `port`.

    Others reach it at `public_url`; the default is the address on which it listens. Raises Misuse when it listens on
    every address and no public URL is given, when it listens beyond loopback without the shared secret, and for an
    invalid URL.
    """
    checked_public_url(public_url, "http", "https")
    advice = "say how others reach it (--public-url http://NAME:PORT)"
    _check_place(f"the lock server listens on {host}: {advice}", host, public_url, site.secret)
    server = LockServer(site.engines.store(), site.secret, host, port, site.clock)
    registration = Registration(
        site,
        ComponentKind.LOCK,
        new_incarnation(),
        lambda: public_url or f"http://{first_place(host, server.port)}",
        lambda: ComponentStatus(capacity=1, load=0, counters={"decided": server.decided_count}),
    )
    return [server, registration]


def master_parts(site: Site, slots: int) -> list[Service]:
    """Return the services of a master that runs up to `slots` jobs at a time."""
    name, broker, cache = new_incarnation(), site.engines.broker(), site.engines.cache()
    settings = MasterSettings(name, slots, site.limits.retention_s)

    def vitals() -> ComponentStatus:
        counters = {"ended": master.ended_count, "lost": master.lost_count}
        return ComponentStatus(capacity=slots, load=master.running(), counters=counters)

    registration = Registration(site, ComponentKind.MASTER, name, lambda: "", vitals)
    locks = LockClient(registration.locks, site.secret)
    master = Master(settings, broker, cache, locks, site.kinds, site.clock)
    return [*_connections(broker, cache), locks, registration, master]


def worker_parts(site: Site, slots: int, options: Mapping[str, Any], end_after_s: float | None = None) -> list[Service]:
    """Return the services of a worker that runs up to `slots` tasks at a time.

    `options` maps the name of a kind to the kind's own settings. A task that blocks the event loop for `end_after_s`
    seconds ends this process. With None (for a process that also runs other services) such a task is only logged.
    Raises Misuse when `end_after_s` is too short.
    """
    broker, cache = site.engines.broker(), site.engines.cache()
    name = new_incarnation()

    def vitals() -> ComponentStatus:
        return ComponentStatus(capacity=slots, load=worker.running(), counters={"done": worker.done_count})

    registration = Registration(site, ComponentKind.WORKER, name, lambda: "", vitals)
    tools = {
        kind: RunnerTools(cache, site.clock, options.get(kind), name, registration.workers)
        for kind in site.kinds.names()
    }
    watchdog = Watchdog(lambda: worker.tasks(), end_after_s)
    worker = Worker(WorkerSettings(slots), broker, site.kinds, tools, watchdog)
    return [*_connections(broker, cache), worker, registration]


def check_gateway_place(settings: Settings, public_url: str, secret: InternalSecret) -> None:
    """Check the addresses of a gateway before it is built.

    Raises Misuse when it would listen on every address and no public URL is given, when it would listen beyond
    loopback without the shared secret, and for an invalid URL.
    """
    checked_public_url(public_url, "ws", "wss")
    advice = f"say how clients reach it (--public-url {_scheme(settings)}://NAME:PORT)"
    _check_place(f"the gateway listens on {settings.host}: {advice}", settings.host, public_url, secret)


def _check_place(no_address: str, host: str, public_url: str, secret: InternalSecret) -> None:
    problems = exposure(secret, host)
    if not public_url and is_everywhere(host):
        problems.insert(0, no_address)
    if problems:
        raise Misuse("; ".join(problems))


def _scheme(settings: Settings) -> str:
    return "wss" if settings.tls_cert else "ws"


def gateway_parts(
    site: Site, settings: Settings, public_url: str, require_ticket: bool, bearer: JwtVerifier | None = None
) -> tuple[list[Service], Server]:
    """Return the services of a gateway that speaks the job protocol, and its server.

    Clients reach it at `public_url`; the default is the address on which it listens. With `require_ticket` each
    connection needs a ticket from discovery; with `bearer` each connection needs a token that the verifier accepts.
    Raises Misuse as `check_gateway_place` does, and for settings that cannot be used.
    """
    check_gateway_place(settings, public_url, site.secret)
    name, broker, cache = new_incarnation(), site.engines.broker(), site.engines.cache()
    protocol_settings = ClientProtocolSettings(
        name,
        live_requests=site.limits.live_requests,
        message_bytes=settings.max_message_bytes,
        retention_s=site.limits.retention_s,
        session_s=site.limits.retention_s + site.limits.grace_s + SESSION_SLACK_S,
    )
    registration = Registration(
        site,
        ComponentKind.GATEWAY,
        name,
        lambda: public_url or f"{_scheme(settings)}://{first_place(settings.host, server.port)}",
        lambda: server.vitals(),
        lambda directions: server.follow(directions),
    )
    locks = LockClient(registration.locks, site.secret)
    protocol = ClientProtocol(protocol_settings, broker, cache, locks, site.kinds, site.keys, site.clock)
    server = Server(
        protocol,
        settings,
        clock=site.clock,
        incarnation=name,
        keyring=site.keys,
        require_ticket=require_ticket,
        bearer=bearer,
        reserve_endpoints=registration.reserve,
    )
    background = FunctionService(start=protocol.requests.start, stop=protocol.requests.stop)
    return [*_connections(broker, cache), locks, background, server, registration], server


def _connections(broker: Broker, cache: Cache) -> list[Service]:
    return [FunctionService(start=broker.start, stop=broker.stop), FunctionService(start=cache.start, stop=cache.stop)]
