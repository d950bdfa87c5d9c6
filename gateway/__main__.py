"""``python -m gateway --app module:Class``: the bare framework as a process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from prometheus_client import REGISTRY

from discovery.registrar import Registrar
from gateway.metrics import GatewayCollector
from gateway.options import Options, load_application, parse
from gateway.server import Server
from wire.errors import Misuse
from wire.internal import InternalSecret
from wire.messages.registry import ComponentKind
from wire.service import AdminHttp, Part, Stack, run
from wire.telemetry import set_up_logging
from wire.tokens import Keyring


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal ends it; the exit status."""
    options = parse(arguments)
    set_up_logging(options.log_level, options.log_style)
    try:
        server = _server(options)
    except Misuse as problem:
        return _fail(problem)
    REGISTRY.register(GatewayCollector(server))
    stack, admin = _stack(server, options)
    try:
        run(stack, lambda: _announce(server, admin))
    except OSError as problem:
        return _fail(problem)
    return 0


def _server(options: Options) -> Server:
    keyring = Keyring.from_text(options.keys) if options.keys else None
    app = load_application(options.app)
    return Server(app, options.settings, keyring=keyring, require_ticket=options.require_ticket)


def _stack(server: Server, options: Options) -> tuple[Stack, AdminHttp | None]:
    parts: list[Part] = []
    admin = None
    if options.admin_port is not None:
        admin = AdminHttp(options.admin_host, options.admin_port, lambda: stack.ready)
        parts.append(admin)
    parts.append(server)
    if options.discovery:
        parts.append(
            Registrar(
                options.discovery,
                ComponentKind.GATEWAY,
                lambda: options.public_url or f"ws://{server.addresses[0]}",
                server.vitals,
                incarnation=server.incarnation,
                secret=InternalSecret(options.secret),
                clock=server.clock,
            )
        )
    stack = Stack(parts, drain_s=options.settings.drain_s + 1)
    return stack, admin


def _announce(server: Server, admin: AdminHttp | None) -> None:
    why = "asked for" if server.settings.max_connections else "from RLIMIT_NOFILE"
    _say(f"gateway {server.incarnation} listens on {', '.join(f'ws://{address}/' for address in server.addresses)}")
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
