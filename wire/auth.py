"""Who may use internal HTTP: components by the shared secret of their system, operators by the admin token."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InternalSecret:
    """Sent as ``Authorization: JwtVerifier …``. An empty one lets everybody in: for one process on loopback only."""

    value: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """What to send."""
        return _headers(self.value)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers knows the secret."""
        return not self.value or _shows(headers, self.value)


@dataclass(frozen=True, slots=True)
class AdminToken:
    """What operators show, likewise. An empty one lets nobody in."""

    value: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """What to send."""
        return _headers(self.value)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers knows the token."""
        return bool(self.value) and _shows(headers, self.value)


def _headers(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"} if value else {}


def _shows(headers: Mapping[str, str], value: str) -> bool:
    """Compared in constant time."""
    given = headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, f"Bearer {value}".encode())


NO_SECRET = InternalSecret("")
"""Lets everybody in."""

NO_ADMIN = AdminToken("")
"""Lets nobody in."""
