"""What a user of the client may have to catch.

::

    RoostError
    ├── BadInput            (wire) refused for what it says: `code` and `message`; asking again unchanged is no use
    ├── Unavailable         (wire) a passing outage: worth another try after `retry_after_s`
    │   └── Refusal
    │       ├── Busy        over the limit of requests one client may have at a time
    │       ├── Overloaded  the system takes no new jobs at the moment
    │       └── Unreachable no discovery, no gateway, for as long as the client was willing to try
    ├── JobFailed           the job ran and failed: `code`, `message`, and in `result` what was found
    ├── ResultGone          the outcome was kept for its retention time, or nothing is known of the request
    ├── Incomplete          the result came with parts missing, again and again
    └── Closed              the client was closed, or the gateway will not have it back: `close_code`
"""

from __future__ import annotations

from typing import Any

from roost.wire.errors import RoostError, Unavailable


class Refusal(Unavailable):
    """Not now; `reason` is the sentence that says why."""

    def __init__(self, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__("Roost", reason, retry_after_s)
        self.args = (reason,)


class Busy(Refusal):
    """This client has as many live requests as it may."""


class Overloaded(Refusal):
    """No new jobs are taken at the moment."""


class Unreachable(Refusal):
    """No gateway could be reached."""


class JobFailed(RoostError):
    """The job as a whole failed; `result` holds what was found until then."""

    def __init__(self, code: str, message: str, result: Any = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.result = result


class ResultGone(RoostError):
    """Nothing is known of this request any more."""

    def __init__(self, request: str, reason: str) -> None:
        super().__init__(f"request {request}: {reason}")
        self.request = request


class Incomplete(RoostError):
    """A result's parts do not add up, however often they are asked for."""

    def __init__(self, request: str, got_count: int, expected_count: int) -> None:
        super().__init__(f"request {request}: {got_count} of {expected_count} parts of the result came")
        self.request = request


class Closed(RoostError):
    """The connection is over for good; `close_code` is 0 when this side closed it."""

    def __init__(self, reason: str, close_code: int = 0) -> None:
        super().__init__(f"the gateway closed the connection: {reason} ({close_code})" if close_code else reason)
        self.close_code = close_code
