"""Decodes how stored jobs ended, and makes the ending of a job that lost too many leases.

Both stores use it. All other endings come from the master of the job, or are only a state (cancelled, expired).
"""

from __future__ import annotations

from roost.wire.codec import Unpacker
from roost.wire.codes import ErrorCode
from roost.wire.messages.outcome import Ending, Failure, Outcome

READ_ENDING: Unpacker[Ending] = Unpacker(Ending, "ending")


def gave_up(attempts: int) -> Ending:
    """Return the ending of a job that lost so many leases that it is not granted again (P16)."""
    text = f"the job lost its master {attempts} times without finishing a level; it was given up"
    return Ending(Outcome.FAILED, failure=Failure(ErrorCode.GAVE_UP, text))
