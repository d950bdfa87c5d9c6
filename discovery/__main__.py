"""``python -m roost.discovery --port 8000``: one replica of discovery, as a process."""

from __future__ import annotations

import argparse
import logging
import os

from roost.discovery.core.client_tickets import MAX_UNUSED_TICKETS, ClientTicketLimits
from roost.discovery.server import Discovery
from roost.wire.auth import AdminToken, InternalSecret
from roost.wire.errors import Misuse
from roost.wire.guards import refuse_exposed, refuse_unapplied
from roost.wire.origins import AllowedOrigins
from roost.wire.service import ServiceGroup, run
from roost.wire.telemetry import set_up_logging
from roost.wire.tokens import Keyring
from roost.wire.variables import read_switch, variable

log = logging.getLogger("discovery")


def main() -> None:
    """Run one replica. Secrets come from the environment only, because all users of a machine can see arguments."""
    parser = _parser()
    chosen = parser.parse_args()
    set_up_logging()
    keys = os.environ.get("ROOST_KEYS", "")
    if not keys:
        log.warning(
            "ROOST_KEYS is not set: a random key is used, and gateways in other processes will reject the tickets",
            extra={"action": "no_keys"},
        )
    secret = InternalSecret(os.environ.get("ROOST_SECRET", ""))
    admin = AdminToken(os.environ.get("ROOST_ADMIN_TOKEN", ""))
    try:
        refuse_unapplied("discovery", os.environ)
        counts_loopback = read_switch("count_loopback", os.environ)
        limits = ClientTicketLimits(
            chosen.max_unused_tickets, chosen.count_loopback or counts_loopback, chosen.trusted_proxies
        )
        origins = AllowedOrigins(chosen.allow_origins)
        keyring = Keyring.from_text(keys) if keys else Keyring.random()
        refuse_exposed(secret, chosen.host)
    except Misuse as problem:
        parser.error(str(problem))
    server = Discovery(chosen.host, chosen.port, keyring, secret=secret, admin=admin, limits=limits, origins=origins)
    try:
        run(ServiceGroup([server]), lambda: log.info("listening", extra={"action": "listening", "url": server.url}))
    except OSError as problem:
        parser.exit(1, f"discovery: {problem}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m roost.discovery",
        description="Knows which components are alive and which gateway has free capacity.",
        epilog="ROOST_KEYS (name:secret,…) signs tickets; gateways need the same value. ROOST_SECRET protects "
        "heartbeats and is required beyond loopback. ROOST_ADMIN_TOKEN is the token that operators send.",
    )
    parser.add_argument("--host", default=_given("host", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=_given("port", "8000"), help="0 picks a free one")
    parser.add_argument(
        "--max-unused-tickets",
        type=int,
        default=_given("max_unused_tickets", str(MAX_UNUSED_TICKETS)),
        help=f"unused tickets that one address may have; 0 is no limit [{MAX_UNUSED_TICKETS}]",
    )
    parser.add_argument("--count-loopback", action="store_true", help="also count addresses of this machine")
    parser.add_argument(
        "--trusted-proxies",
        default=_given("trusted_proxies", ""),
        help="networks of load balancers whose X-Forwarded-For is trusted, separated by commas",
    )
    parser.add_argument(
        "--allow-origins",
        default=_given("allow_origins", ""),
        help="origins of web pages that may read the answers, separated by commas; empty is any",
    )
    return parser


def _given(name: str, default: str) -> str:
    """The value of the setting's variable, or `default` when it is missing or empty."""
    return os.environ.get(variable(name)) or default


if __name__ == "__main__":
    main()
