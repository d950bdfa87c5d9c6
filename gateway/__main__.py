"""Runs the gateway with one application, without the job backend: ``python -m roost.gateway --app module:Class``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from prometheus_client import REGISTRY

from roost.discovery.registrar import Registrar
from roost.gateway.moving.endpoints import nowhere
from roost.gateway.options import Options, load_application, of_process, parse
from roost.gateway.process import kernel
from roost.gateway.process.metrics import GatewayCollector
from roost.gateway.process.per_process import END_MARGIN_S
from roost.gateway.process.sighup import Hangup
from roost.gateway.process.supervisor import Supervisor
from roost.gateway.server import Server
from roost.wire.auth import InternalSecret
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.errors import Misuse
from roost.wire.messages.registry import ComponentKind
from roost.wire.service import AdminHttp, Service, ServiceGroup, run
from roost.wire.telemetry import set_up_logging
from roost.wire.tokens import Keyring
from roost.wire.version import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal ends the process; return the exit status."""
    options = parse(arguments)
    set_up_logging(options.log_level, options.log_style)
    if options.processes == 1:
        return serve(options)
    try:
        load_application(options.app)
    except Misuse as problem:
        return _fail(problem)
    supervisor = Supervisor(options.processes, lambda index: serve(of_process(options, index)), SYSTEM_CLOCK)
    return supervisor.run(end_s=options.settings.drain_s + END_MARGIN_S)


def serve(options: Options) -> int:
    """Run one gateway process; return its exit status."""
    try:
        server, registrar = _server(options)
    except Misuse as problem:
        return _fail(problem)
    kernel.warn(options.settings.backlog, server.capacity)
    REGISTRY.register(GatewayCollector(server))
    services, admin = _services(server, registrar, options)
    try:
        run(services, lambda: _announce(server, admin))
    except OSError as problem:
        return _fail(problem)
    return 0


def _server(options: Options) -> tuple[Server, Registrar | None]:
    keyring = Keyring.from_text(options.keys) if options.keys else None
    app = load_application(options.app)
    registrar = None
    if options.discovery:
        registrar = Registrar(
            options.discovery,
            ComponentKind.GATEWAY,
            lambda: options.public_url or server.url,
            lambda: server.vitals(),
            version=VERSION,
            labels=options.labels,
            follow=lambda directives: server.follow(directives),
            secret=InternalSecret(options.secret),
        )
    server = Server(
        app,
        options.settings,
        incarnation=registrar.incarnation if registrar else "",
        keyring=keyring,
        require_ticket=options.access.require_ticket,
        bearer=options.access.bearer(SYSTEM_CLOCK),
        reserve_endpoints=registrar.reserve if registrar else nowhere,
    )
    return server, registrar


def _services(server: Server, registrar: Registrar | None, options: Options) -> tuple[ServiceGroup, AdminHttp | None]:
    members: list[Service] = []
    admin = None
    if options.admin_port is not None:
        admin = AdminHttp(options.admin_host, options.admin_port, lambda: services.ready)
        members.append(admin)
    members += [server, Hangup(server.reload)]
    if registrar is not None:
        members.append(registrar)
    services = ServiceGroup(members, drain_s=options.settings.drain_s + 1)
    return services, admin


def _announce(server: Server, admin: AdminHttp | None) -> None:
    why = "asked for" if server.settings.max_connections else "from RLIMIT_NOFILE"
    scheme = server.url.partition(":")[0]
    where = ", ".join(f"{scheme}://{address}/" for address in server.addresses)
    _say(f"gateway {server.incarnation} listens on {where}")
    _say(f"capacity {server.capacity} connections ({why})")
    if admin is not None:
        _say(f"admin on port {admin.port}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(problem: Exception) -> int:
    sys.stderr.write(f"gateway: {problem}\n")
    return 2 if isinstance(problem, Misuse) else 1


if __name__ == "__main__":
    sys.exit(main())
