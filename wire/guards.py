"""A security setting without effect is an error, and no part is reachable by others without the shared secret. Pure,
but for the resolving of host names.

Two rules decide whether a part may start:

**Unapplied settings.** `APPLIED` says which settings that protect a listening port each part applies. A part that finds
the variable of another one in its environment refuses to start: whoever set ``ROOST_JWT_KEY`` for discovery believes
that discovery asks for tokens. A switch counts when it is on, any other setting when it is not empty.

What a whole system shares is never an error: ``ROOST_KEYS``, ``ROOST_SECRET`` and ``ROOST_ADMIN_TOKEN`` may be in the
environment of every part, whether or not it has a use for them. Neither are limits and times, such as
``ROOST_MAX_PER_ADDRESS``: they decide how much, and not who.

**Exposure.** A part that listens beyond loopback needs ``ROOST_SECRET``: without one, discovery and lock servers
believe whoever connects to them.
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
"""By part: the settings that protect its port, of those that there are."""


def refuse_unapplied(part: str, environment: Mapping[str, str]) -> None:
    """Raise Misuse when the environment has a security setting that this part does not apply."""
    for name in sorted(AT_A_GATEWAY - APPLIED[part]):
        given = read_switch(name, environment) if name in SWITCHES else bool(environment.get(variable(name)))
        if given:
            others = ", ".join(other for other, applied in APPLIED.items() if name in applied)
            raise Misuse(
                f"{variable(name)} is set, but {part} does not apply it, so it would protect nothing here: "
                f"give it only to what does ({others}), and remove it from this environment"
            )


def exposure(secret: InternalSecret, *hosts: str) -> list[str]:
    """A sentence that says what is wrong when others can connect to one of these host settings and there is no secret.

    Empty when nothing is.
    """
    reachable = [] if secret.value else [host or "every address" for host in hosts if not is_loopback_only(host)]
    if not reachable:
        return []
    return [
        f"without ROOST_SECRET parts would believe whoever connects to {', '.join(reachable)}: set it to the same long "
        "random text for every part, or listen on 127.0.0.1 only (--host, --admin-host)"
    ]


def refuse_exposed(secret: InternalSecret, *hosts: str) -> None:
    """Raise Misuse when one of these host settings is reachable from other machines and there is no secret."""
    for problem in exposure(secret, *hosts):
        raise Misuse(problem)
