"""``roost gateway`` as one process or several: each builds its own parts after the fork."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from prometheus_client import REGISTRY

from roost.allinone import LOOPBACK, drain_s
from roost.backend.assembly import Site, check_gateway_place, gateway_parts
from roost.cli.serving import EXIT_USAGE, serve_until_signal, stack_of
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
    """What a gateway is to be, before any of it is built."""

    settings: Settings
    access: Access
    public_url: str = ""
    admin_host: str = LOOPBACK
    admin_port: int | None = None
    processes: int = 1

    def check(self, secret: InternalSecret, has_keys: bool) -> None:
        """Raise Misuse for what no process could be started with; `has_keys` tells whether the operator gave any."""
        if self.access.require_ticket and not has_keys:
            raise Misuse("--require-ticket needs the ROOST_KEYS by which discovery signs tickets")
        check_processes(self.processes, self.settings, self.access, self.public_url, checks_tickets=True)
        check_gateway_place(self.settings, self.public_url, secret)

    def build(self, site: Site, index: int) -> tuple[ServiceGroup, Server]:
        """The parts of process number `index`. Raises Misuse."""
        settings = settings_of(self.settings, index)
        public_url = public_url_of(self.public_url, settings, index)
        bearer = self.access.bearer(SYSTEM_CLOCK)
        parts, server = gateway_parts(site, settings, public_url, self.access.require_ticket, bearer)
        if settings.tls_cert or self.processes > 1:  # else SIGHUP ends the process, as it ends others
            parts.append(Hangup(server.reload))
        admin_port = None if self.admin_port is None else port_of(self.admin_port, index)
        return stack_of(parts, self.admin_host, admin_port, drain_s(settings)), server


def run_gateway(plan: GatewayPlan, site: Site) -> int:
    """Serve until a signal ends it; the exit status."""
    if plan.processes == 1:
        return _serve(plan, site, 0)
    family = Supervisor(plan.processes, lambda index: _serve(plan, site, index), SYSTEM_CLOCK)
    return family.run(end_s=drain_s(plan.settings) + END_MARGIN_S)


def _serve(plan: GatewayPlan, site: Site, index: int) -> int:
    try:
        stack, server = plan.build(site, index)
    except Misuse as problem:
        typer.echo(f"Error: {problem}", err=True)
        return EXIT_USAGE
    kernel.warn(server.settings.backlog, server.capacity)
    REGISTRY.register(GatewayCollector(server))
    return serve_until_signal(stack, lambda: typer.echo(f"gateway on {server.url}"))
