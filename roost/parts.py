"""``roost up`` and ``roost discovery|gateway|lock|master|worker``: the commands that serve until a signal ends them.

Secrets come from the environment only, because an argument is seen by everybody on the machine: ``ROOST_KEYS``
(``name:secret,older:secret``) signs tickets and sessions, ``ROOST_SECRET`` guards what parts say to each other, and
``ROOST_ADMIN_TOKEN`` is what operators show discovery.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from prometheus_client import REGISTRY

from backend.assembly import Site, gateway_parts, lock_parts, master_parts, worker_parts
from backend.kinds.crawl.options import CrawlOptions
from backend.kinds.registry import load
from backend.lock.server import LockServer
from backend.store.port import StoreLimits
from backend.wiring import IN_MEMORY, Engines, EngineUrls
from discovery.callers import MAX_UNUSED_TICKETS, CallerLimits
from discovery.labels import read_labels
from discovery.server import Discovery
from gateway import kernel
from gateway.metrics import GatewayCollector
from gateway.settings import Settings
from roost.up import LOOPBACK, System, UpSettings
from wire import failpoints
from wire.errors import BadInput, Misuse, Unavailable
from wire.internal import AdminToken, InternalSecret
from wire.service import AdminHttp, Part, Stack, run
from wire.telemetry import set_up_logging
from wire.tokens import Keyring
from wire.version import VERSION

DISCOVERY_URL = "http://127.0.0.1:8000"
ADMIN_VARIABLE = "ROOST_ADMIN_TOKEN"
EXIT_FAILED, EXIT_USAGE = 1, 2
T = TypeVar("T")


class Level(StrEnum):
    """How serious a log line is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Style(StrEnum):
    """What a log line looks like."""

    PLAIN = "plain"
    JSON = "json"


Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one.", envvar="ROOST_HOST")]
Replicas = Annotated[
    list[str], typer.Option("--discovery", help="Where discovery is; may be repeated.", envvar="ROOST_DISCOVERY")
]
BrokerUrl = Annotated[str, typer.Option("--broker", help="amqp://USER:PASSWORD@HOST:PORT/VHOST", envvar="ROOST_BROKER")]
CacheUrl = Annotated[
    str, typer.Option("--cache", help="redis://HOST:PORT/NUMBER, or memory: for one of its own", envvar="ROOST_CACHE")
]
StoreUrl = Annotated[str, typer.Option("--store", help="sqlite:PATH", envvar="ROOST_STORE")]
KindPaths = Annotated[
    list[str], typer.Option("--kind", help="Another kind of job, module:Class; may be repeated.", envvar="ROOST_KIND")
]
AllowPrivate = Annotated[
    list[str],
    typer.Option(
        help="Range of private addresses that crawls may reach, as 127.0.0.0/8; may be repeated.",
        envvar="ROOST_ALLOW_PRIVATE",
        metavar="CIDR",
    ),
]
Contact = Annotated[
    str, typer.Option(help="Address or page by which crawled sites reach you.", envvar="ROOST_CONTACT", metavar="TEXT")
]
IgnoreRobots = Annotated[
    bool, typer.Option("--ignore-robots", help="Crawl what robots.txt forbids.", envvar="ROOST_IGNORE_ROBOTS")
]
WorkerSlots = Annotated[int, typer.Option(min=1, help="Tasks at a time.", envvar="ROOST_WORKER_SLOTS")]
MasterSlots = Annotated[int, typer.Option(min=1, help="Jobs at a time.", envvar="ROOST_MASTER_SLOTS")]
LiveRequests = Annotated[int, typer.Option(min=1, help="Live requests of one client.", envvar="ROOST_LIVE_REQUESTS")]
GatewayPort = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.", envvar="ROOST_GATEWAY_PORT")]
PublicUrl = Annotated[str, typer.Option(help="How others reach it, when that differs.", envvar="ROOST_PUBLIC_URL")]
UnusedTickets = Annotated[
    int,
    typer.Option(
        min=0, help="Tickets that one address may have unused; 0 is no limit.", envvar="ROOST_MAX_UNUSED_TICKETS"
    ),
]
AdminHost = Annotated[str, typer.Option(help="Address of the admin port.", envvar="ROOST_ADMIN_HOST")]
AdminPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        help="Port of /health, /ready and /metrics; without it there are none.",
        envvar="ROOST_ADMIN_PORT",
    ),
]
Labels = Annotated[
    list[str],
    typer.Option(
        "--label",
        help="Where this part runs or whom it is for, as zone=a; may be repeated. Clients may prefer such gateways.",
        envvar="ROOST_LABEL",
        metavar="NAME=VALUE",
    ),
]
LogLevel = Annotated[
    Level, typer.Option(help="Least serious line shown.", envvar="ROOST_LOG_LEVEL", case_sensitive=False)
]
LogStyle = Annotated[Style, typer.Option(help="Of log lines.", envvar="ROOST_LOG_STYLE", case_sensitive=False)]


def add_commands(app: typer.Typer) -> None:
    """Put the serving commands on the command line."""
    for command in (up, discovery, gateway, lock, master, worker):
        app.command(rich_help_panel="Serve")(command)


def up(
    host: Host = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where clients ask.", envvar="ROOST_PORT")] = 8000,
    gateway_port: GatewayPort = 9001,
    public_url: PublicUrl = "",
    data: Annotated[
        Path | None, typer.Option(help="Folder that keeps jobs and results over a restart.", envvar="ROOST_DATA")
    ] = None,
    allow_private: AllowPrivate = [],  # noqa: B006  typer copies it
    contact: Contact = "",
    ignore_robots: IgnoreRobots = False,
    kind: KindPaths = [],  # noqa: B006
    master_slots: MasterSlots = 64,
    worker_slots: WorkerSlots = 64,
    live_requests: LiveRequests = 1,
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run everything in one process, until Ctrl-C.

    Then, in a second terminal: roost crawl https://example.org --depth 2 --server http://127.0.0.1:8000
    """

    def make() -> System:
        return System(
            UpSettings(
                host=host,
                port=port,
                gateway_port=gateway_port,
                public_url=public_url,
                data=data,
                master_slots=master_slots,
                worker_slots=worker_slots,
                live_requests=live_requests,
                kinds=separate(kind),
                options=_options(allow_private, contact, ignore_robots),
                admin=admin_token(),
            )
        )

    set_up_logging(log_level, log_style)
    system = _checked(make)

    def announce() -> None:
        kept = f"kept in {data}" if data else "in memory, gone with this process; --data DIR keeps them"
        typer.echo(f"Roost {VERSION} is up.")
        typer.echo(f"  clients ask   {system.url}")
        typer.echo(f"  gateway       {public_url or f'ws://{system.gateway.addresses[0]}'}")
        typer.echo(f"  jobs, results {kept}")
        typer.echo(f"Try: roost crawl https://example.org --depth 2 --server {system.url}")
        typer.echo("Ctrl-C here ends it.")

    _serve(system.stack, announce)


def discovery(
    host: Host = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where clients ask.", envvar="ROOST_PORT")] = 8000,
    max_unused_tickets: UnusedTickets = MAX_UNUSED_TICKETS,
    count_loopback: Annotated[
        bool, typer.Option(help="Count addresses of this machine, too.", envvar="ROOST_COUNT_LOOPBACK")
    ] = False,
    trusted_proxies: Annotated[
        str,
        typer.Option(
            help="Networks of balancers whose X-Forwarded-For is believed, with commas between.",
            envvar="ROOST_TRUSTED_PROXIES",
            metavar="CIDR",
        ),
    ] = "",
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run one replica of discovery: who is alive, and which gateway has room."""
    set_up_logging(log_level, log_style)
    limits = _checked(lambda: CallerLimits(max_unused_tickets, count_loopback, trusted_proxies))
    part = Discovery(host, port, _checked(_keys), secret=_secret(), admin=admin_token(), limits=limits)
    _serve(Stack([part]), lambda: typer.echo(f"discovery on {part.url}"))


def gateway(
    host: Host = LOOPBACK,
    gateway_port: GatewayPort = 9001,
    public_url: PublicUrl = "",
    require_ticket: Annotated[
        bool, typer.Option(help="Let nobody in without a ticket of discovery.", envvar="ROOST_REQUIRE_TICKET")
    ] = False,
    discovery_urls: Replicas = [DISCOVERY_URL],  # noqa: B006
    label: Labels = [],  # noqa: B006
    broker: BrokerUrl = IN_MEMORY,
    cache: CacheUrl = IN_MEMORY,
    kind: KindPaths = [],  # noqa: B006
    live_requests: LiveRequests = 1,
    admin_host: AdminHost = LOOPBACK,
    admin_port: AdminPort = None,
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run a gateway that speaks the job protocol."""
    set_up_logging(log_level, log_style)
    settings = Settings(host=host, port=gateway_port)
    site = _checked(lambda: _site(discovery_urls, label, broker, cache, kind, live_requests))
    parts, server = _checked(lambda: gateway_parts(site, settings, public_url, require_ticket))
    kernel.warn(settings.backlog, server.capacity)
    REGISTRY.register(GatewayCollector(server))
    _serve(_stack(parts, admin_host, admin_port), lambda: typer.echo(f"gateway on ws://{server.addresses[0]}"))


def lock(
    host: Host = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.", envvar="ROOST_PORT")] = 8100,
    public_url: PublicUrl = "",
    discovery_urls: Replicas = [DISCOVERY_URL],  # noqa: B006
    label: Labels = [],  # noqa: B006
    store: StoreUrl = "sqlite:roost-jobs.db",
    live_requests: LiveRequests = 1,
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run a lock server: who may work on a job, and what is safe."""
    set_up_logging(log_level, log_style)
    site = _checked(lambda: _site(discovery_urls, label, IN_MEMORY, IN_MEMORY, (), live_requests, store, shares=False))
    parts = _checked(lambda: lock_parts(site, host, port, public_url))
    server = next(part for part in parts if isinstance(part, LockServer))
    _serve(Stack(parts), lambda: typer.echo(f"lock server on {host}:{server.port}"))


def master(
    discovery_urls: Replicas = [DISCOVERY_URL],  # noqa: B006
    label: Labels = [],  # noqa: B006
    broker: BrokerUrl = IN_MEMORY,
    cache: CacheUrl = IN_MEMORY,
    kind: KindPaths = [],  # noqa: B006
    master_slots: MasterSlots = 64,
    admin_host: AdminHost = LOOPBACK,
    admin_port: AdminPort = None,
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run a master: splits jobs into tasks, level by level, and folds their results."""
    set_up_logging(log_level, log_style)
    site = _checked(lambda: _site(discovery_urls, label, broker, cache, kind))
    stack = _stack(master_parts(site, master_slots), admin_host, admin_port)
    _serve(stack, lambda: typer.echo(f"master with {master_slots} slots"))


def worker(
    discovery_urls: Replicas = [DISCOVERY_URL],  # noqa: B006
    label: Labels = [],  # noqa: B006
    broker: BrokerUrl = IN_MEMORY,
    cache: CacheUrl = IN_MEMORY,
    kind: KindPaths = [],  # noqa: B006
    worker_slots: WorkerSlots = 64,
    allow_private: AllowPrivate = [],  # noqa: B006
    contact: Contact = "",
    ignore_robots: IgnoreRobots = False,
    admin_host: AdminHost = LOOPBACK,
    admin_port: AdminPort = None,
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run a worker: does tasks, and keeps nothing."""
    set_up_logging(log_level, log_style)
    site = _checked(lambda: _site(discovery_urls, label, broker, cache, kind))
    options = _checked(lambda: _options(allow_private, contact, ignore_robots))
    stack = _stack(worker_parts(site, worker_slots, options), admin_host, admin_port)
    _serve(stack, lambda: typer.echo(f"worker with {worker_slots} slots"))


def _options(allow_private: list[str], contact: str, ignore_robots: bool) -> dict[str, CrawlOptions]:
    """What the operator decided about each kind."""
    networks = tuple(separate(allow_private))
    return {"crawl": CrawlOptions(allow_private=networks, contact=contact, ignores_robots=ignore_robots)}


def _site(
    discovery_urls: list[str],
    labels: list[str],
    broker: str,
    cache: str,
    kinds: Any,
    live_requests: int = 1,
    store: str = "sqlite::memory:",
    shares: bool = True,
) -> Site:
    if shares and broker == IN_MEMORY:
        raise Misuse(
            "the broker memory: lives inside one process, so this part alone would hear of nothing: "
            "run everything with `roost up`, or name one that processes share, --broker amqp://HOST"
        )
    limits, replicas = StoreLimits(live_requests=live_requests), separate(discovery_urls)
    return Site(
        discovery=lambda: replicas,
        keys=_keys(),
        engines=Engines(EngineUrls(broker, cache, store), limits),
        kinds=load(separate(kinds)),
        limits=limits,
        secret=_secret(),
        version=VERSION,
        labels=read_labels(separate(labels)),
    )


def _stack(parts: list[Part], admin_host: str, admin_port: int | None) -> Stack:
    """The parts, behind an admin port where one is wanted: the first to start, so that it tells of the others."""
    if admin_port is None:
        return Stack(parts)
    stack = Stack([AdminHttp(admin_host, admin_port, lambda: stack.ready), *parts])
    return stack


def _keys() -> Keyring:
    text = os.environ.get("ROOST_KEYS", "")
    if text:
        return Keyring.from_text(text)
    typer.echo("no ROOST_KEYS: tickets and sessions of this process mean nothing to any other", err=True)
    return Keyring.random()


def _secret() -> InternalSecret:
    return InternalSecret(os.environ.get("ROOST_SECRET", ""))


def admin_token() -> AdminToken:
    """What makes an operator, by the environment."""
    return AdminToken(os.environ.get(ADMIN_VARIABLE, ""))


def separate(values: Iterable[str]) -> list[str]:
    """The single values of an option that may be repeated, or comes from a variable with commas or spaces in it."""
    return [single for value in values for single in value.replace(",", " ").split()]


def _checked(make: Callable[[], T]) -> T:
    """What `make` makes; settings that cannot work end the command with status 2."""
    try:
        return make()
    except (Misuse, BadInput) as problem:
        typer.echo(f"Error: {problem}", err=True)
        raise typer.Exit(EXIT_USAGE) from None


def _serve(stack: Stack, on_ready: Callable[[], None]) -> None:
    _checked(lambda: failpoints.arm(os.environ.get(failpoints.VARIABLE, "")))
    try:
        run(stack, on_ready)
    except (OSError, Unavailable, Misuse) as problem:
        typer.echo(f"Error: {_advice(problem)}", err=True)
        raise typer.Exit(EXIT_FAILED) from None


def _advice(problem: Exception) -> str:
    """What went wrong and, where it is known, what to do."""
    if not isinstance(problem, OSError) or not problem.strerror:
        return str(problem)
    if not problem.strerror.startswith("cannot listen on ") or (problem.errno or 0) <= 0:
        return problem.strerror
    place = problem.strerror.partition(": ")[0]
    if problem.errno == errno.EADDRINUSE:
        return f"{place}: a program does already; end it, or choose another port: --port, for a gateway --gateway-port"
    return f"{place}: {os.strerror(problem.errno or 0).lower()}"
