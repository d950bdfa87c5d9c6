"""``python -m discovery --port 8000``: one replica of discovery, as a process."""

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
    """Secrets come from the environment only: an argument is seen by everybody on the machine."""
    parser = _parser()
    chosen = parser.parse_args()
    set_up_logging()
    keys = os.environ.get("ROOST_KEYS", "")
    if not keys:
        log.warning(
            "no ROOST_KEYS: only gateways of this process would accept these tickets", extra={"action": "no_keys"}
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
    part = Discovery(chosen.host, chosen.port, keyring, secret=secret, admin=admin, limits=limits, origins=origins)
    try:
        run(ServiceGroup([part]), lambda: log.info("discovery listens", extra={"action": "listening", "url": part.url}))
    except OSError as problem:
        parser.exit(1, f"discovery: {problem}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m discovery",
        description="Knows which parts are alive and which gateway has room.",
        epilog="ROOST_KEYS (name:secret,…) signs tickets, as at the gateways; ROOST_SECRET guards beats, and is needed "
        "beyond loopback; ROOST_ADMIN_TOKEN is what operators show.",
    )
    parser.add_argument("--host", default=_given("host", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=_given("port", "8000"), help="0 picks one")
    parser.add_argument(
        "--max-unused-tickets",
        type=int,
        default=_given("max_unused_tickets", str(MAX_UNUSED_TICKETS)),
        help=f"tickets that one address may have unused; 0 is no limit [{MAX_UNUSED_TICKETS}]",
    )
    parser.add_argument("--count-loopback", action="store_true", help="count addresses of this machine, too")
    parser.add_argument(
        "--trusted-proxies",
        default=_given("trusted_proxies", ""),
        help="networks of balancers whose X-Forwarded-For is believed, with commas between",
    )
    parser.add_argument(
        "--allow-origins",
        default=_given("allow_origins", ""),
        help="web pages that may read the answers, origins with commas between them; empty is any",
    )
    return parser


def _given(name: str, default: str) -> str:
    """The setting's variable; an empty one is none."""
    return os.environ.get(variable(name)) or default


if __name__ == "__main__":
    main()
