"""The error tree: each branch says whose turn it is.

::

    RoostError
    ├── Misuse            an interface was used against its contract: a bug of ours
    ├── BadInput          the peer sent what cannot be accepted: it is told `code` and `message`
    │   ├── DecodeError   bytes that are not the message they should be
    │   └── TokenError    a ticket or session that is forged, expired or foreign
    ├── Unavailable       a passing outage: worth another try after `retry_after_s`
    └── LostAuthority     the fencing token is no longer the job's: stop, write nothing

Foreign errors (a driver's, the system's) are translated to these once, where the foreign
library is used, with ``raise … from``.
"""

from __future__ import annotations

from enum import StrEnum

from roost.wire.codes import ErrorCode


class RoostError(Exception):
    """Root of everything that Roost raises on purpose."""


class Misuse(RoostError):
    """An interface was used against its contract."""


class BadInput(RoostError):
    """Input that is refused; `message` is one sentence that says what to do."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class DecodeError(BadInput):
    """Bytes that are not the message they should be."""


class TokenFault(StrEnum):
    """What is wrong with a token; a word for metrics."""

    FORGED = "forged"
    """Not signed by a key of ours as it stands: invented, changed, cut, or signed with a key that was retired."""
    EXPIRED = "expired"
    FOREIGN = "foreign"
    """Ours, and meant for something else."""


class TokenError(BadInput):
    """A signed token that is forged, malformed, expired or meant for something else; `fault` says which."""

    def __init__(self, message: str, fault: TokenFault = TokenFault.FORGED) -> None:
        super().__init__(ErrorCode.BAD_TOKEN, message)
        self.fault = fault


class Unavailable(RoostError):
    """A part that is needed does not answer at the moment."""

    def __init__(self, what: str, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(f"{what} is unavailable: {reason}")
        self.what = what
        self.reason = reason
        self.retry_after_s = retry_after_s


class LostAuthority(RoostError):
    """Another holder has the job now; what was to be written must be dropped."""

    def __init__(self, job: int, token: int) -> None:
        super().__init__(f"job {job} is no longer held under token {token}")
        self.job = job
        self.token = token
