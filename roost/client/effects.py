"""Effects: values with which a `Session` tells its `Connection` what to do."""

from __future__ import annotations

from dataclasses import dataclass

from roost.wire.errors import RoostError
from roost.wire.messages.client import FromClient, Level, Progress
from roost.wire.messages.outcome import Failure, Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended, not decoded yet: `parts` and `summary` are JSON."""

    outcome: Outcome
    parts: tuple[bytes, ...] = ()
    summary: bytes = b""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message on the current connection."""

    message: FromClient


@dataclass(frozen=True, slots=True)
class News:
    """A streaming request has made progress."""

    request: str
    event: Progress | Level


@dataclass(frozen=True, slots=True)
class Ended:
    """A request ended with an answer or an error. Each request has exactly one such effect."""

    request: str
    answer: Answer | RoostError


@dataclass(frozen=True, slots=True)
class Postponed:
    """Call `Session.retry` for this request in `after_s` seconds."""

    request: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The gateway accepted the connection; `session` must be kept for the next one."""

    session: str


@dataclass(frozen=True, slots=True)
class Moved:
    """Open a connection to `url` with `ticket` after `after_s` seconds, then close this one."""

    url: str
    ticket: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Restart:
    """Close this connection and open another one, because of an error that cannot be corrected on it."""

    reason: str


Effect = Send | News | Ended | Postponed | Welcomed | Moved | Restart
