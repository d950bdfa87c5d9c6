"""Settings for the credentials that clients need in the opening handshake.

A gateway can require a ticket that discovery has signed, a JSON Web Token, both, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from roost.gateway.admission.jwt import JwtVerifier
from roost.gateway.settings import SECURITY, option
from roost.wire.clock import Clock
from roost.wire.errors import Misuse

DEFAULT_ALGORITHMS = "HS256"
MIN_KEY_CHARS = 16
"""Same as for a key in ROOST_KEYS. Catches empty secret files, which often contain a line break."""


@dataclass(frozen=True, slots=True)
class Access:
    """Access settings. Creating one raises Misuse for a setting that would have no effect."""

    require_ticket: bool = option(False, "refuse clients without a ticket of discovery", SECURITY)
    jwt_key: str = option(
        "",
        "require a JSON Web Token signed with this key: a secret, which is better given as a variable, "
        "or a PEM public key",
        SECURITY,
        is_secret=True,
    )
    jwt_algorithms: str = option(
        "", f"accepted signatures, with commas between them; {DEFAULT_ALGORITHMS} when none is named", SECURITY
    )
    jwt_audience: str = option("", "audience that the token's aud must contain", SECURITY)

    def __post_init__(self) -> None:
        for name in ("jwt_algorithms", "jwt_audience"):
            if getattr(self, name) and not self.jwt_key:
                raise Misuse(f"{name} needs a jwt_key: without one no token is asked for")
        if self.jwt_key and len(self.jwt_key.strip()) < MIN_KEY_CHARS:
            raise Misuse(f"jwt_key has fewer than {MIN_KEY_CHARS} characters: anybody could guess it and sign tokens")

    def bearer(self, clock: Clock) -> JwtVerifier | None:
        """Return the verifier, or None when no token is required. Raises Misuse for an unusable key or algorithm."""
        if not self.jwt_key:
            return None
        algorithms = self.jwt_algorithms or DEFAULT_ALGORITHMS
        names = [name.strip() for name in algorithms.split(",") if name.strip()]
        return JwtVerifier(self.jwt_key, names, self.jwt_audience, clock)


OPEN = Access()
"""No credentials are required."""
