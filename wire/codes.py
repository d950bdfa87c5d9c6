"""Close codes and error codes as data.

The range of a close code tells the client what to do, so that a client that does not know a code still acts correctly
(RFC 6455 section 7.4 leaves 4000 to 4999 to applications):

==========================  ==================================================================
1000, 1001                  normal end; reconnect when there is work
1002 to 1004, 1007 to 1010  protocol violation: do not reconnect unchanged
1005, 1006                  the connection ended without a close code: reconnect after a pause
1011, 1013                  fault at the gateway: reconnect after a pause
1012                        moved: connect where a `Move` message or discovery says
1014, 1015                  fault of a proxy or of TLS: reconnect after a pause
4000 to 4099                do not reconnect unchanged
4100 to 4199                reconnect after a pause
4200 to 4299                reconnect at once, and resume
4300 to 4399                reconnect when there is work
==========================  ==================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class Comeback(Enum):
    """When a client may reconnect after a close."""

    NEVER = "never"
    PAUSE = "pause"
    NOW = "now"
    MOVED = "moved"
    WHEN_NEEDED = "when needed"


def comeback(number: int) -> Comeback:
    """When a client may reconnect after the close code `number`, by its range."""
    if number in (1000, 1001) or 4300 <= number <= 4399:
        return Comeback.WHEN_NEEDED
    if number == 1012:
        return Comeback.MOVED
    if number in (1005, 1006, 1011, 1013, 1014, 1015) or 4100 <= number <= 4199:
        return Comeback.PAUSE
    if 4200 <= number <= 4299:
        return Comeback.NOW
    return Comeback.NEVER


@dataclass(frozen=True, slots=True)
class Close:
    """One close code: its number on the wire and its reason phrase (at most 123 bytes)."""

    number: int
    reason: str


NORMAL = Close(1000, "bye")
GOING_AWAY = Close(1001, "going away")
PROTOCOL_ERROR = Close(1002, "protocol error")
UNSUPPORTED = Close(1003, "text messages only")
BAD_TEXT = Close(1007, "text is not UTF-8")
POLICY = Close(1008, "policy violation")
TOO_BIG = Close(1009, "message too big")
INTERNAL = Close(1011, "internal error")
MOVED = Close(1012, "moved")
TRY_LATER = Close(1013, "try again later")

HELLO_EXPECTED = Close(4000, "the first message must be hello")
BAD_SESSION = Close(4001, "session refused")
REPLACED = Close(4002, "replaced by a newer connection")
TOO_MANY_ERRORS = Close(4003, "too many bad messages")
OVERLOADED = Close(4100, "overloaded")
APPLICATION_ERROR = Close(4101, "the application failed")
SLOW = Close(4200, "too slow: resume to get the rest")
NO_PONG = Close(4201, "no answer to ping")
IDLE = Close(4300, "idle: come back when there is work")

ALL_CLOSES: tuple[Close, ...] = tuple(v for v in globals().copy().values() if isinstance(v, Close))


class ErrorCode(StrEnum):
    """Codes of ``error`` messages and of failed jobs; each comes with a sentence that tells what to do."""

    BAD_JSON = "bad_json"
    BAD_MESSAGE = "bad_message"
    BAD_TOKEN = "bad_token"  # noqa: S105  a name, not a secret
    BAD_SPEC = "bad_spec"
    BAD_URL = "bad_url"
    UNKNOWN_KIND = "unknown_kind"
    CONFLICT = "conflict"
    BUSY = "busy"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    TOO_BIG = "too_big"
    REFUSED_ADDRESS = "refused_address"
    UNREACHABLE = "unreachable"
    BAD_STATUS = "bad_status"
    TIMED_OUT = "timed_out"
    BAD_CONTENT = "bad_content"
    GAVE_UP = "gave_up"
    INTERNAL = "internal"
