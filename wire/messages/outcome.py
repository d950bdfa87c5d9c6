"""How a job ended: types that clients, gateways, masters and the store share."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

PART_BYTES = 256 * 1024
"""Greatest size of a result part before compression (P24)."""


class Outcome(StrEnum):
    """How a job ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Failure(Struct, frozen=True):
    """Why a job has no complete result: a code of `ErrorCode` and one sentence."""

    code: str
    message: str


class Ending(Struct, array_like=True, frozen=True):
    """How a job ended.

    `parts` is the number of stored result parts; `summary` is small JSON whose meaning the job kind defines.
    """

    outcome: Outcome
    token: int = 0
    parts: int = 0
    summary: bytes = b""
    failure: Failure | None = None
