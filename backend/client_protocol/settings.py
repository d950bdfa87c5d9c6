"""Settings of the client protocol at one gateway."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientProtocolSettings:
    """`incarnation` is the gateway's. Sessions are valid as long as a result may wait, plus the grace (P1)."""

    incarnation: str
    live_requests: int = 1
    message_bytes: int = 64 * 1024
    retention_s: float = 24 * 3600.0
    session_s: float = 25 * 3600.0
