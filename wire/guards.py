"""Start-up checks: security settings without effect, and ports that other machines can reach without the shared secret.

Pure, except that host names are resolved. Two rules decide whether a component may start:

**Unapplied settings.** `APPLIED` lists, for each component, the settings that protect its listening port. A component
that finds the variable of another such setting in its environment refuses to start: an operator who sets
``ROOST_JWT_KEY`` for discovery expects discovery to ask for tokens, which it does not. A switch counts when it is on,
any other setting when it is not empty.

Settings that a whole system shares are never an error: ``ROOST_KEYS``, ``ROOST_SECRET`` and ``ROOST_ADMIN_TOKEN`` may
be in the environment of every component, used or not. Nor are limits and times, such as ``ROOST_MAX_PER_ADDRESS``:
they decide how much is allowed, not who is admitted.

**Exposure.** A component that listens beyond loopback needs ``ROOST_SECRET``: without it, discovery and lock servers
trust every process that connects to them.
"""

from __future__ import annotations

from collections.abc import Mapping

from roost.wire.auth import InternalSecret
from roost.wire.bind_addresses import is_loopback_only
from roost.wire.errors import Misuse
from roost.wire.variables import read_switch, variable

SWITCHES = frozenset(("require_ticket", "proxy_protocol"))
AT_A_GATEWAY = SWITCHES | {
    "allow_origins",
    "jwt_algorithms",
    "jwt_audience",
    "jwt_key",
    "tls_cert",
    "tls_key",
    "trusted_proxies",
}

APPLIED: Mapping[str, frozenset[str]] = {
    "discovery": frozenset(("allow_origins", "trusted_proxies")),
    "gateway": AT_A_GATEWAY,
    "lock": frozenset(),
    "master": frozenset(),
    "up": AT_A_GATEWAY,
    "worker": frozenset(),
}
"""The settings that each component applies to protect its port."""


def refuse_unapplied(component: str, environment: Mapping[str, str]) -> None:
    """Raise Misuse when the environment has a security setting that this component does not apply."""
    for name in sorted(AT_A_GATEWAY - APPLIED[component]):
        given = read_switch(name, environment) if name in SWITCHES else bool(environment.get(variable(name)))
        if given:
            others = ", ".join(other for other, applied in APPLIED.items() if name in applied)
            raise Misuse(
                f"{variable(name)} is set, but {component} does not apply it, so it would protect nothing here: "
                f"give it only to what does ({others}), and remove it from this environment"
            )


def exposure(secret: InternalSecret, *hosts: str) -> list[str]:
    """One sentence when there is no secret and other machines can connect to one of these hosts; otherwise empty."""
    reachable = [] if secret.value else [host or "every address" for host in hosts if not is_loopback_only(host)]
    if not reachable:
        return []
    return [
        f"ROOST_SECRET is not set, so all that can connect to {', '.join(reachable)} would be trusted: set it to the "
        "same long random text for every component, or listen on 127.0.0.1 only (--host, --admin-host)"
    ]


def refuse_exposed(secret: InternalSecret, *hosts: str) -> None:
    """Raise Misuse when there is no secret and other machines can connect to one of these hosts."""
    for problem in exposure(secret, *hosts):
        raise Misuse(problem)
