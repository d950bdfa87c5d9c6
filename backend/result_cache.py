"""Whole answers in the cache: what one run found serves the next client that asks the same (I5: only cost).

An answer is kept only when its job is done and complete, under the kind's cache key; it is served when it was
made from the same spec and is young enough for the asker (P9, P27).
"""

from __future__ import annotations

from msgspec import Struct

from roost.backend.cache.port import Cache
from roost.backend.kinds.api import ResultSharing
from roost.wire.codec import Unpacker, pack
from roost.wire.errors import DecodeError

KEEP_S = 24 * 3600.0
MOST_BYTES = 4 * 1024 * 1024
"""A larger answer is not kept: it would push out hundreds of others."""


class KeptAnswer(Struct, array_like=True, frozen=True):
    """`made_at` in wall seconds; `parts` compressed, `summary` JSON."""

    spec: bytes
    made_at: float
    summary: bytes
    parts: list[bytes]


_read: Unpacker[KeptAnswer] = Unpacker(KeptAnswer, "kept answer")


def _name(kind: str, keys: ResultSharing) -> bytes:
    return b"answer:" + kind.encode() + b":" + keys.cache_key


async def keep(cache: Cache, kind: str, keys: ResultSharing, answer: KeptAnswer) -> None:
    """Put the answer into the cache, if it is not too large."""
    if sum(map(len, answer.parts)) <= MOST_BYTES:
        await cache.put(_name(kind, keys), pack(answer), KEEP_S)


async def find(cache: Cache, kind: str, keys: ResultSharing, spec: bytes, now_wall: float) -> KeptAnswer | None:
    """The kept answer to this very spec, when it is young enough."""
    blob = await cache.get(_name(kind, keys)) if keys.max_age_s > 0 else None
    if blob is None:
        return None
    try:
        answer = _read(blob)
    except DecodeError:
        return None
    return answer if answer.spec == spec and now_wall - answer.made_at <= keys.max_age_s else None
