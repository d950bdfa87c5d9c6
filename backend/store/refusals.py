"""What both stores answer to a decision that cannot be made."""

from __future__ import annotations

from roost.wire.codes import ErrorCode
from roost.wire.messages.lock import Decision, Refused

RELEASED = "the job was given back and nobody runs it"
"""Why a job cannot be completed as done whose master has released it."""


def refused(decision: Decision, reason: str) -> Refused:
    """Return the answer to a decision that cannot be made."""
    return Refused(ErrorCode.BAD_MESSAGE, f"{type(decision).__name__} refused: {reason}")
