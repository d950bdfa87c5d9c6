"""``python -m discovery --port 8000``: one replica of discovery, as a process."""

from __future__ import annotations

import argparse
import logging
import os

from discovery.callers import MAX_UNUSED_TICKETS, CallerLimits
from discovery.server import Discovery
from wire.errors import Misuse
from wire.internal import AdminToken, InternalSecret
from wire.service import Stack, run
from wire.telemetry import set_up_logging
from wire.tokens import Keyring

log = logging.getLogger("discovery")


def main() -> None:
    """Secrets come from the environment only: an argument is seen by everybody on the machine."""
    options = argparse.ArgumentParser(
        prog="python -m discovery",
        description="Knows which parts are alive and which gateway has room.",
        epilog="ROOST_KEYS (name:secret,…) signs tickets, as at the gateways; ROOST_SECRET guards beats; "
        "ROOST_ADMIN_TOKEN is what operators show.",
    )
    options.add_argument("--host", default=os.environ.get("ROOST_HOST", "127.0.0.1"))
    options.add_argument("--port", type=int, default=os.environ.get("ROOST_PORT", "8000"), help="0 picks one")
    options.add_argument(
        "--max-unused-tickets",
        type=int,
        default=os.environ.get("ROOST_MAX_UNUSED_TICKETS", MAX_UNUSED_TICKETS),
        help=f"tickets that one address may have unused; 0 is no limit [{MAX_UNUSED_TICKETS}]",
    )
    options.add_argument(
        "--count-loopback",
        action="store_true",
        default=os.environ.get("ROOST_COUNT_LOOPBACK", "").lower() in ("1", "true", "yes", "on"),
        help="count addresses of this machine, too",
    )
    options.add_argument(
        "--trusted-proxies",
        default=os.environ.get("ROOST_TRUSTED_PROXIES", ""),
        help="networks of balancers whose X-Forwarded-For is believed, with commas between",
    )
    chosen = options.parse_args()
    set_up_logging()
    keys = os.environ.get("ROOST_KEYS", "")
    if not keys:
        log.warning(
            "no ROOST_KEYS: only gateways of this process would accept these tickets", extra={"action": "no_keys"}
        )
    try:
        limits = CallerLimits(chosen.max_unused_tickets, chosen.count_loopback, chosen.trusted_proxies)
        keyring = Keyring.from_text(keys) if keys else Keyring.random()
    except Misuse as problem:
        options.error(str(problem))
    secret = InternalSecret(os.environ.get("ROOST_SECRET", ""))
    admin = AdminToken(os.environ.get("ROOST_ADMIN_TOKEN", ""))
    part = Discovery(chosen.host, chosen.port, keyring, secret=secret, admin=admin, limits=limits)
    try:
        run(Stack([part]), lambda: log.info("discovery listens", extra={"action": "listening", "url": part.url}))
    except OSError as problem:
        options.exit(1, f"discovery: {problem}\n")


if __name__ == "__main__":
    main()
