"""What a `Session` wants done: values that its shell acts on."""

from __future__ import annotations

from dataclasses import dataclass

from roost.wire.errors import RoostError
from roost.wire.messages.client import FromClient, Level, Progress
from roost.wire.messages.outcome import Failure, Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended, as it came: `parts` and `summary` are JSON."""

    outcome: Outcome
    parts: tuple[bytes, ...] = ()
    summary: bytes = b""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Put this on the connection."""

    message: FromClient


@dataclass(frozen=True, slots=True)
class News:
    """A request that streams got on."""

    request: str
    event: Progress | Level


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word on a request: an answer, or why there is none. Comes once."""

    request: str
    answer: Answer | RoostError


@dataclass(frozen=True, slots=True)
class Postponed:
    """Call `Session.retry` for this request in `after_s` seconds."""

    request: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The connection works; `session` is to be kept."""

    session: str


@dataclass(frozen=True, slots=True)
class Moved:
    """In `after_s` seconds open a connection to `url` with `ticket`, then close this one."""

    url: str
    ticket: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Restart:
    """Close this connection and open another: something on it cannot be made good."""

    reason: str


Effect = Send | News | Ended | Postponed | Welcomed | Moved | Restart
