"""Checks the JSON Web Token (RFC 7519) of an external identity provider in the opening handshake.

The token is sent as ``Authorization: Bearer …``. Web pages cannot set headers on a WebSocket; they offer it as a
subprotocol ``bearer.…`` beside the real one. It is never read from the URL, because URLs appear in logs. It must
contain a subject (sub) and an expiry time (exp). Needs PyJWT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roost.gateway.api import Refusal
from roost.wire.clock import Clock
from roost.wire.errors import Misuse

LEEWAY_S = 30.0
"""Tolerated difference to the clock of the issuer, in seconds."""

MAX_TOKEN_CHARS = 4096
_CHALLENGE = (("WWW-Authenticate", "Bearer"),)


class JwtVerifier:
    """Checks tokens signed with `key` (a shared secret, or a public key in PEM) by one of `algorithms`.

    Raises Misuse when PyJWT or a library of an algorithm is missing, and for a key that does not fit the algorithm.
    """

    def __init__(self, key: str, algorithms: Sequence[str], audience: str, clock: Clock) -> None:
        try:
            import jwt
        except ImportError as problem:
            raise Misuse('JWT needs PyJWT: in a clone, .venv/bin/pip install ".[jwt]"') from problem
        known = jwt.algorithms.get_default_algorithms()
        missing = [name for name in algorithms if name == "none" or name not in known]
        if missing or not algorithms:
            raise Misuse(f"no such JWT algorithm here: {', '.join(missing) or 'none named'}")
        for name in algorithms:
            try:
                known[name].prepare_key(key)
            except Exception as problem:  # the type depends on the algorithm: from PyJWT, cryptography or Python
                raise Misuse(f"the JWT key cannot be used with {name}: {problem}") from problem
        self._jwt: Any = jwt
        self._key, self._algorithms, self._audience = key, list(algorithms), audience or None
        self._clock = clock

    def check(self, fields: Mapping[bytes, bytes], subprotocols: Sequence[str]) -> str | Refusal:
        """Return the subject of a valid token, or the refusal for the client."""
        token = _token(fields, subprotocols)
        if token is None:
            return Refusal(401, "a bearer token is needed", headers=_CHALLENGE)
        # PyJWT would use the system clock; the times are checked below with the injected clock.
        options = {"require": ["sub", "exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            claims = self._jwt.decode(token, self._key, self._algorithms, options, audience=self._audience)
        except self._jwt.PyJWTError:
            return Refusal(401, "this bearer token is not accepted", headers=_CHALLENGE)
        now = self._clock.wall()
        if not _is_before(claims.get("nbf", 0), now + LEEWAY_S) or not _is_before(now - LEEWAY_S, claims["exp"]):
            return Refusal(401, "this bearer token has expired", headers=_CHALLENGE)
        return str(claims["sub"])


def _is_before(first: Any, second: Any) -> bool:
    return isinstance(first, (int, float)) and isinstance(second, (int, float)) and first <= second


def _token(fields: Mapping[bytes, bytes], subprotocols: Sequence[str]) -> str | None:
    scheme, _, token = fields.get(b"authorization", b"").decode("latin-1").partition(" ")
    offered = [name.removeprefix("bearer.") for name in subprotocols if name.startswith("bearer.")]
    found = token.strip() if scheme.lower() == "bearer" else offered[0] if offered else ""
    return found if 0 < len(found) <= MAX_TOKEN_CHARS else None
