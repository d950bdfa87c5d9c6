"""Runs ``roost gateway`` as one process or several; each process builds its own services after the fork."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from prometheus_client import REGISTRY

from roost.allinone import LOOPBACK, drain_s
from roost.backend.assembly import Site, check_gateway_place, gateway_parts
from roost.cli.serving import EXIT_USAGE, group_of, serve_until_signal
from roost.gateway.admission.access import Access
from roost.gateway.process import kernel
from roost.gateway.process.metrics import GatewayCollector
from roost.gateway.process.per_process import (
    END_MARGIN_S,
    check_processes,
    port_of,
    public_url_of,
    settings_of,
)
from roost.gateway.process.sighup import Hangup
from roost.gateway.process.supervisor import Supervisor
from roost.gateway.server import Server
from roost.gateway.settings import Settings
from roost.wire.auth import InternalSecret
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.errors import Misuse
from roost.wire.service import ServiceGroup


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """All settings of a gateway, before anything is built."""

    settings: Settings
    access: Access
    public_url: str = ""
    admin_host: str = LOOPBACK
    admin_port: int | None = None
    processes: int = 1

    def check(self, secret: InternalSecret, has_keys: bool) -> None:
        """Raise Misuse for settings that cannot work. `has_keys` tells whether ROOST_KEYS is set."""
        if self.access.require_ticket and not has_keys:
            raise Misuse("--require-ticket needs ROOST_KEYS, with the keys that discovery uses to sign tickets")
        check_processes(self.processes, self.settings, self.access, self.public_url, checks_tickets=True)
        check_gateway_place(self.settings, self.public_url, secret)

    def build(self, site: Site, index: int) -> tuple[ServiceGroup, Server]:
        """The services of process number `index`. Raises Misuse."""
        settings = settings_of(self.settings, index)
        public_url = public_url_of(self.public_url, settings, index)
        bearer = self.access.bearer(SYSTEM_CLOCK)
        services, server = gateway_parts(site, settings, public_url, self.access.require_ticket, bearer)
        if settings.tls_cert or self.processes > 1:  # else SIGHUP ends the process, which is its default
            services.append(Hangup(server.reload))
        admin_port = None if self.admin_port is None else port_of(self.admin_port, index)
        return group_of(services, self.admin_host, admin_port, drain_s(settings)), server


def run_gateway(plan: GatewayPlan, site: Site) -> int:
    """Serve until a signal ends the process; returns the exit status."""
    if plan.processes == 1:
        return _serve(plan, site, 0)
    supervisor = Supervisor(plan.processes, lambda index: _serve(plan, site, index), SYSTEM_CLOCK)
    return supervisor.run(end_s=drain_s(plan.settings) + END_MARGIN_S)


def _serve(plan: GatewayPlan, site: Site, index: int) -> int:
    try:
        group, server = plan.build(site, index)
    except Misuse as problem:
        typer.echo(f"Error: {problem}", err=True)
        return EXIT_USAGE
    kernel.warn(server.settings.backlog, server.capacity)
    REGISTRY.register(GatewayCollector(server))
    return serve_until_signal(group, lambda: typer.echo(f"gateway on {server.url}"))
