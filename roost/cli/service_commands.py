"""``roost up`` and ``roost discovery|gateway|lock|master|worker``: the commands that serve until a signal ends them.

Secrets come from the environment only, because all users of a machine can see arguments: ``ROOST_KEYS``
(``name:secret,older:secret``) signs tickets and sessions, ``ROOST_SECRET`` protects requests between components, and
``ROOST_ADMIN_TOKEN`` is the token that operators send to discovery. A component refuses to start when it is given a
security setting that it does not apply, or when it would listen beyond loopback without ``ROOST_SECRET``
(`roost.wire.guards`).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from roost.allinone import LOOPBACK, System, UpSettings
from roost.backend.assembly import Site, lock_parts, master_parts, worker_parts
from roost.backend.engines import IN_MEMORY, Engines, EngineUrls
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.backend.kinds.registry import load
from roost.backend.lock.server import LockServer
from roost.backend.store.port import StoreLimits
from roost.backend.worker.watchdog import END_AFTER_S
from roost.cli.gateway_options import GatewayOptions, with_gateway_options
from roost.cli.gateway_process import GatewayPlan, run_gateway
from roost.cli.serving import (
    DISCOVERY_URL,
    admin_token,
    check_component,
    checked,
    group_of,
    keys,
    keys_given,
    secret,
    separate,
    serve,
)
from roost.discovery.core.client_tickets import MAX_UNUSED_TICKETS, ClientTicketLimits
from roost.discovery.core.labels import read_labels
from roost.discovery.server import Discovery
from roost.wire.errors import Misuse
from roost.wire.origins import AllowedOrigins
from roost.wire.service import ServiceGroup
from roost.wire.telemetry import set_up_logging
from roost.wire.version import VERSION


class Level(StrEnum):
    """Least serious level of log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Style(StrEnum):
    """Format of log lines."""

    PLAIN = "plain"
    JSON = "json"


Host = Annotated[
    str, typer.Option(help="Address to listen on, or several with commas; 0.0.0.0 for all.", envvar="ROOST_HOST")
]
Replicas = Annotated[
    list[str], typer.Option("--discovery", help="URL of discovery; may be repeated.", envvar="ROOST_DISCOVERY")
]
BrokerUrl = Annotated[str, typer.Option("--broker", help="amqp://USER:PASSWORD@HOST:PORT/VHOST", envvar="ROOST_BROKER")]
CacheUrl = Annotated[
    str, typer.Option("--cache", help="redis://HOST:PORT/NUMBER, or memory: for a private one", envvar="ROOST_CACHE")
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
    str,
    typer.Option(
        help="E-mail address or page where crawled sites can reach you.", envvar="ROOST_CONTACT", metavar="TEXT"
    ),
]
IgnoreRobots = Annotated[
    bool, typer.Option("--ignore-robots", help="Crawl what robots.txt forbids.", envvar="ROOST_IGNORE_ROBOTS")
]
WorkerSlots = Annotated[int, typer.Option(min=1, help="Tasks at a time.", envvar="ROOST_WORKER_SLOTS")]
StallAfter = Annotated[
    int, typer.Option(min=1, max=86_400, help="Seconds a task may block this process.", envvar="ROOST_STALL_AFTER_S")
]
MasterSlots = Annotated[int, typer.Option(min=1, help="Jobs at a time.", envvar="ROOST_MASTER_SLOTS")]
LiveRequests = Annotated[int, typer.Option(min=1, help="Live requests of one client.", envvar="ROOST_LIVE_REQUESTS")]
GatewayPort = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.", envvar="ROOST_GATEWAY_PORT")]
PublicUrl = Annotated[
    str, typer.Option(help="URL under which others reach it, if that differs.", envvar="ROOST_PUBLIC_URL")
]
UnusedTickets = Annotated[
    int,
    typer.Option(
        min=0, help="Unused tickets that one address may have; 0 is no limit.", envvar="ROOST_MAX_UNUSED_TICKETS"
    ),
]
Processes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Number of processes; each has ports of its own, counted up, unless --shared-port is given.",
        envvar="ROOST_PROCESSES",
    ),
]
AdminHost = Annotated[str, typer.Option(help="Address of the admin port.", envvar="ROOST_ADMIN_HOST")]
AdminPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        help="Port of /health, /ready and /metrics; without it they are not served.",
        envvar="ROOST_ADMIN_PORT",
    ),
]
Labels = Annotated[
    list[str],
    typer.Option(
        "--label",
        help="Where this component runs or which clients it is for, as zone=a; may be repeated. Clients may prefer "
        "gateways with a label.",
        envvar="ROOST_LABEL",
        metavar="NAME=VALUE",
    ),
]
LogLevel = Annotated[
    Level, typer.Option(help="Least serious level of log lines shown.", envvar="ROOST_LOG_LEVEL", case_sensitive=False)
]
LogStyle = Annotated[Style, typer.Option(help="Format of log lines.", envvar="ROOST_LOG_STYLE", case_sensitive=False)]


def add_commands(app: typer.Typer) -> None:
    """Add the serving commands to the command line."""
    for command in (up, discovery, gateway, lock, master, worker):
        app.command(rich_help_panel="Serve")(command)


@with_gateway_options
def up(
    gateway: GatewayOptions,
    host: Host = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where clients ask.", envvar="ROOST_PORT")] = 8000,
    gateway_port: GatewayPort = 9001,
    public_url: PublicUrl = "",
    data: Annotated[
        Path | None, typer.Option(help="Folder in which jobs and results survive a restart.", envvar="ROOST_DATA")
    ] = None,
    allow_private: AllowPrivate = [],  # noqa: B006  typer copies it
    contact: Contact = "",
    ignore_robots: IgnoreRobots = False,
    kind: KindPaths = [],  # noqa: B006
    master_slots: MasterSlots = 64,
    worker_slots: WorkerSlots = 64,
    live_requests: LiveRequests = 1,
    max_unused_tickets: UnusedTickets = MAX_UNUSED_TICKETS,
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run everything in one process, until Ctrl-C.

    Then, in a second terminal: roost crawl https://example.org --depth 2 --server http://127.0.0.1:8000
    """

    def plan() -> UpSettings:
        check_component("up")
        settings = gateway.settings(host, gateway_port)
        counts_loopback = settings.count_loopback and max_unused_tickets > 0
        return UpSettings(
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
            gateway=settings,
            access=gateway.access(),
            callers=ClientTicketLimits(max_unused_tickets, counts_loopback, settings.trusted_proxies),
            admin=admin_token(),
        )

    set_up_logging(log_level, log_style)
    system = checked(lambda: System(plan()))
    serve(system.stack, lambda: _announce(system, public_url or system.gateway.url, data))


def _announce(system: System, gateway_url: str, data: Path | None) -> None:
    kept = f"kept in {data}" if data else "in memory, lost when this process ends; --data DIR keeps them"
    typer.echo(f"Roost {VERSION} is up.")
    typer.echo(f"  clients ask   {system.url}")
    typer.echo(f"  gateway       {gateway_url}")
    typer.echo(f"  jobs, results {kept}")
    typer.echo(f"Try: roost crawl https://example.org --depth 2 --server {system.url}")
    typer.echo("Ctrl-C here ends it.")


def discovery(
    host: Host = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where clients ask.", envvar="ROOST_PORT")] = 8000,
    max_unused_tickets: UnusedTickets = MAX_UNUSED_TICKETS,
    count_loopback: Annotated[
        bool, typer.Option(help="Also count addresses of this machine.", envvar="ROOST_COUNT_LOOPBACK")
    ] = False,
    trusted_proxies: Annotated[
        str,
        typer.Option(
            help="Networks of load balancers whose X-Forwarded-For is trusted, separated by commas.",
            envvar="ROOST_TRUSTED_PROXIES",
            metavar="CIDR",
        ),
    ] = "",
    allow_origins: Annotated[
        str,
        typer.Option(
            help="Origins of web pages that may read the answers, separated by commas; empty is any.",
            envvar="ROOST_ALLOW_ORIGINS",
            metavar="ORIGIN",
        ),
    ] = "",
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run one replica of discovery, which knows the live components and assigns clients to gateways."""
    set_up_logging(log_level, log_style)

    def make() -> Discovery:
        check_component("discovery", host=host)
        limits = ClientTicketLimits(max_unused_tickets, count_loopback, trusted_proxies)
        origins = AllowedOrigins(allow_origins)
        return Discovery(host, port, keys(), secret=secret(), admin=admin_token(), limits=limits, origins=origins)

    server = checked(make)
    serve(ServiceGroup([server]), lambda: typer.echo(f"discovery on {server.url}"))


@with_gateway_options
def gateway(
    gateway: GatewayOptions,
    host: Host = LOOPBACK,
    gateway_port: GatewayPort = 9001,
    public_url: PublicUrl = "",
    discovery_urls: Replicas = [DISCOVERY_URL],  # noqa: B006
    label: Labels = [],  # noqa: B006
    broker: BrokerUrl = IN_MEMORY,
    cache: CacheUrl = IN_MEMORY,
    kind: KindPaths = [],  # noqa: B006
    live_requests: LiveRequests = 1,
    admin_host: AdminHost = LOOPBACK,
    admin_port: AdminPort = None,
    processes: Processes = 1,
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run a gateway, to which clients connect and send requests for jobs."""
    set_up_logging(log_level, log_style)

    def make() -> tuple[GatewayPlan, Site]:
        check_component("gateway", admin_host=admin_host, admin_port=admin_port)
        settings, access = gateway.settings(host, gateway_port), gateway.access()
        plan = GatewayPlan(settings, access, public_url, admin_host, admin_port, processes)
        plan.check(secret(), keys_given())
        return plan, _site(discovery_urls, label, broker, cache, kind, live_requests)

    status = run_gateway(*checked(make))
    if status:
        raise typer.Exit(status)


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
    """Run a lock server, which stores jobs and results and decides which master may work on a job."""
    set_up_logging(log_level, log_style)
    checked(lambda: check_component("lock"))
    site = checked(lambda: _site(discovery_urls, label, IN_MEMORY, IN_MEMORY, (), live_requests, store, shares=False))
    services = checked(lambda: lock_parts(site, host, port, public_url))
    server = next(service for service in services if isinstance(service, LockServer))
    serve(ServiceGroup(services), lambda: typer.echo(f"lock server on {host}:{server.port}"))


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
    """Run a master, which splits jobs into tasks, level by level, and combines their results."""
    set_up_logging(log_level, log_style)
    checked(lambda: check_component("master", admin_host=admin_host, admin_port=admin_port))
    site = checked(lambda: _site(discovery_urls, label, broker, cache, kind))
    group = group_of(master_parts(site, master_slots), admin_host, admin_port)
    serve(group, lambda: typer.echo(f"master with {master_slots} slots"))


def worker(
    discovery_urls: Replicas = [DISCOVERY_URL],  # noqa: B006
    label: Labels = [],  # noqa: B006
    broker: BrokerUrl = IN_MEMORY,
    cache: CacheUrl = IN_MEMORY,
    kind: KindPaths = [],  # noqa: B006
    worker_slots: WorkerSlots = 64,
    stall_after_s: StallAfter = END_AFTER_S,
    allow_private: AllowPrivate = [],  # noqa: B006
    contact: Contact = "",
    ignore_robots: IgnoreRobots = False,
    admin_host: AdminHost = LOOPBACK,
    admin_port: AdminPort = None,
    log_level: LogLevel = Level.INFO,
    log_style: LogStyle = Style.PLAIN,
) -> None:
    """Run a worker, which executes tasks and stores nothing."""
    set_up_logging(log_level, log_style)
    checked(lambda: check_component("worker", admin_host=admin_host, admin_port=admin_port))
    site = checked(lambda: _site(discovery_urls, label, broker, cache, kind))
    options = checked(lambda: _options(allow_private, contact, ignore_robots))
    group = group_of(worker_parts(site, worker_slots, options, stall_after_s), admin_host, admin_port)
    serve(group, lambda: typer.echo(f"worker with {worker_slots} slots"))


def _options(allow_private: list[str], contact: str, ignore_robots: bool) -> dict[str, CrawlOptions]:
    """The operator's options for each job kind."""
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
            "the broker memory: works within one process only, so this component would receive nothing: "
            "run everything with `roost up`, or choose a broker that processes share, --broker amqp://HOST"
        )
    limits, replicas = StoreLimits(live_requests=live_requests), separate(discovery_urls)
    return Site(
        discovery=lambda: replicas,
        keys=keys(),
        engines=Engines(EngineUrls(broker, cache, store), limits),
        kinds=load(separate(kinds)),
        limits=limits,
        secret=secret(),
        version=VERSION,
        labels=read_labels(separate(labels)),
    )
