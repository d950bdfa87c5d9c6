"""Authentication of internal HTTP requests: components send the system's shared secret, operators the admin token."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InternalSecret:
    """The secret that components share, sent as ``Authorization: Bearer …``.

    An empty secret admits every request; that is for a single process on loopback only.
    """

    value: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """The request headers that carry the secret."""
        return _headers(self.value)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers has the right secret."""
        return not self.value or _has_bearer(headers, self.value)


@dataclass(frozen=True, slots=True)
class AdminToken:
    """The token that operators send, in the same header. An empty token admits no request."""

    value: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """The request headers that carry the token."""
        return _headers(self.value)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers has the right token."""
        return bool(self.value) and _has_bearer(headers, self.value)


def _headers(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"} if value else {}


def _has_bearer(headers: Mapping[str, str], value: str) -> bool:
    """Whether the headers carry this value. The comparison takes constant time."""
    given = headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, f"Bearer {value}".encode())


NO_SECRET = InternalSecret("")
"""Admits every request."""

NO_ADMIN = AdminToken("")
"""Admits no request."""
