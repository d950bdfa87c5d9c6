"""The error tree. Each branch tells who has to act: the programmer, the peer, or the caller.

::

    RoostError
    ├── Misuse            a setting is invalid, or an interface was used against its contract
    ├── BadInput          the peer sent something that cannot be accepted; it is sent `code` and `message`
    │   ├── DecodeError   the bytes are not a valid message
    │   └── TokenError    a ticket or session is forged, expired, or for something else
    ├── Unavailable       a temporary outage: try again after `retry_after_s` seconds
    └── LostAuthority     the fencing token of the job is out of date: stop, and write nothing

Errors of a driver or of the system are translated to these once, where the library is used, with
``raise … from``.
"""

from __future__ import annotations

from enum import StrEnum

from roost.wire.codes import ErrorCode


class RoostError(Exception):
    """Base class of all errors that Roost raises on purpose."""


class Misuse(RoostError):
    """A setting is invalid, or an interface was used against its contract."""


class BadInput(RoostError):
    """The input is refused. `message` is one sentence that tells the sender what to do."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class DecodeError(BadInput):
    """The bytes are not a valid message."""


class TokenFault(StrEnum):
    """What is wrong with a token; a label value in metrics."""

    FORGED = "forged"
    """No key of ours has made this signature: the token was invented, changed or cut, or its key was retired."""
    EXPIRED = "expired"
    FOREIGN = "foreign"
    """The signature is valid, but the token is for something else, such as another gateway."""


class TokenError(BadInput):
    """A signed token is forged, malformed, expired, or for something else; `fault` says which."""

    def __init__(self, message: str, fault: TokenFault = TokenFault.FORGED) -> None:
        super().__init__(ErrorCode.BAD_TOKEN, message)
        self.fault = fault


class Unavailable(RoostError):
    """A component that is needed does not answer at the moment; try again after `retry_after_s` seconds."""

    def __init__(self, what: str, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(f"{what} is unavailable: {reason}")
        self.what = what
        self.reason = reason
        self.retry_after_s = retry_after_s


class LostAuthority(RoostError):
    """Another master holds the job now. Results of the old holder must be dropped."""

    def __init__(self, job: int, token: int) -> None:
        super().__init__(f"job {job} is no longer held under token {token}")
        self.job = job
        self.token = token
