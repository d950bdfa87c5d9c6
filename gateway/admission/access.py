"""What a client must show at a gateway's opening handshake: a ticket of discovery, a JSON Web Token, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from roost.gateway.admission.jwt import JwtVerifier
from roost.gateway.settings import SECURITY, option
from roost.wire.clock import Clock
from roost.wire.errors import Misuse

DEFAULT_ALGORITHMS = "HS256"
MIN_KEY_CHARS = 16
"""As many as of a key in ROOST_KEYS. An empty secret file often has a line break in it."""


@dataclass(frozen=True, slots=True)
class Access:
    """Checked when made: raises Misuse for a setting that would have no effect."""

    require_ticket: bool = option(False, "nobody gets in without a ticket of discovery", SECURITY)
    jwt_key: str = option(
        "",
        "everybody needs a JSON Web Token signed with this: a secret, which is better given as a variable, "
        "or a PEM public key",
        SECURITY,
        is_secret=True,
    )
    jwt_algorithms: str = option(
        "", f"accepted signatures, with commas between them; {DEFAULT_ALGORITHMS} when none is named", SECURITY
    )
    jwt_audience: str = option("", "what the token's aud must name", SECURITY)

    def __post_init__(self) -> None:
        for name in ("jwt_algorithms", "jwt_audience"):
            if getattr(self, name) and not self.jwt_key:
                raise Misuse(f"{name} needs a jwt_key: without one no token is asked for")
        if self.jwt_key and len(self.jwt_key.strip()) < MIN_KEY_CHARS:
            raise Misuse(f"jwt_key has fewer than {MIN_KEY_CHARS} characters: anybody could guess it and sign tokens")

    def bearer(self, clock: Clock) -> JwtVerifier | None:
        """What checks tokens; None when none is asked for. Raises Misuse for a key or algorithm that cannot be used."""
        if not self.jwt_key:
            return None
        algorithms = self.jwt_algorithms or DEFAULT_ALGORITHMS
        names = [name.strip() for name in algorithms.split(",") if name.strip()]
        return JwtVerifier(self.jwt_key, names, self.jwt_audience, clock)


OPEN = Access()
"""Nothing needs to be shown."""
