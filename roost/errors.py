"""The errors that a user of the client may have to catch.

``BadInput``, ``Unavailable`` and ``RoostError`` are defined in `roost.wire.errors`, the others here.

::

    RoostError
    ├── BadInput            the request is invalid: `code` and `message`; sending it again unchanged fails too
    ├── Unavailable         a temporary outage: try again after `retry_after_s` seconds
    │   └── Refusal
    │       ├── Busy        over the limit of requests that one client may have at a time
    │       ├── Overloaded  the system accepts no new jobs at the moment
    │       └── Unreachable neither discovery nor a gateway answered within the client's time limit
    ├── JobFailed           the job ran and failed: `code`, `message`, and in `result` what was found
    ├── ResultGone          the retention time of the result is over, or the request is not known
    ├── Incomplete          the result arrived with parts missing, several times
    └── Closed              the client was closed, or the gateway refuses to let it reconnect: `close_code`
"""

from __future__ import annotations

from typing import Any

from roost.wire.errors import RoostError, Unavailable


class Refusal(Unavailable):
    """The system cannot serve the request now. `reason` is one sentence; try again after `retry_after_s` seconds."""

    def __init__(self, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__("Roost", reason, retry_after_s)
        self.args = (reason,)


class Busy(Refusal):
    """This client has reached its limit of live requests."""


class Overloaded(Refusal):
    """The system accepts no new jobs at the moment."""


class Unreachable(Refusal):
    """No gateway could be reached."""


class JobFailed(RoostError):
    """The job as a whole failed; `result` has what was found until then."""

    def __init__(self, code: str, message: str, result: Any = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.result = result


class ResultGone(RoostError):
    """The system no longer has this request or its result."""

    def __init__(self, request: str, reason: str) -> None:
        super().__init__(f"request {request}: {reason}")
        self.request = request


class Incomplete(RoostError):
    """Parts of a result are missing, although it was requested several times."""

    def __init__(self, request: str, got_count: int, expected_count: int) -> None:
        super().__init__(f"request {request}: {got_count} of {expected_count} parts of the result came")
        self.request = request


class Closed(RoostError):
    """The client is closed and does not reconnect; `close_code` is 0 when this side closed it."""

    def __init__(self, reason: str, close_code: int = 0) -> None:
        super().__init__(f"the gateway closed the connection: {reason} ({close_code})" if close_code else reason)
        self.close_code = close_code
