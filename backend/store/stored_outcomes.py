"""Decodes how stored jobs ended. Both stores use it."""

from __future__ import annotations

import msgspec

from roost.backend.jobs import JobState
from roost.wire.codec import Unpacker
from roost.wire.codes import ErrorCode
from roost.wire.messages.outcome import Ending, Failure, Outcome

READ_ENDING: Unpacker[Ending] = Unpacker(Ending, "ending")


def read_ending(state: str, token: int, packed: bytes | None, attempt: int) -> Ending:
    """Return how the job ended: as its master packed it, or by its state if the store ended it."""
    if packed is not None:
        ending = READ_ENDING(packed)
    else:
        ending = _gave_up(attempt) if state == JobState.FAILED else Ending(Outcome(state))
    return msgspec.structs.replace(ending, token=token)


def _gave_up(attempts: int) -> Ending:
    """Return the ending of a job that lost so many leases that it is not granted again (P16)."""
    text = f"the job lost its master {attempts} times without finishing a level; it was given up"
    return Ending(Outcome.FAILED, failure=Failure(ErrorCode.GAVE_UP, text))
