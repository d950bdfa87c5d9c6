"""The shared secret of internal HTTP: what components say to discovery and to lock servers."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InternalSecret:
    """Sent as ``Authorization: Bearer …``. An empty one lets everybody in: for one process on loopback only."""

    value: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """What to send."""
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers knows the secret; compared in constant time."""
        given = headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return not self.value or hmac.compare_digest(given, f"Bearer {self.value}".encode())


NO_SECRET = InternalSecret("")
"""Lets everybody in."""
