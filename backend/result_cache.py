"""Stores complete results in the cache, for later requests with the same specification (P9, P27).

A master stores a result when its job is done and complete, under the kind's cache key. A gateway answers a request
with a stored result if that was made from the same specification and is not older than the request allows. The cache
changes the cost of a request, never its outcome (I5).
"""

from __future__ import annotations

from msgspec import Struct

from roost.backend.cache.port import Cache
from roost.backend.kinds.api import ResultSharing
from roost.wire.codec import Unpacker, pack
from roost.wire.errors import DecodeError

KEEP_S = 24 * 3600.0
MOST_BYTES = 4 * 1024 * 1024
"""A larger result is not stored: it would evict hundreds of others."""


class KeptAnswer(Struct, array_like=True, frozen=True):
    """A stored result: `made_at` is wall-clock seconds, `parts` are compressed, `summary` is JSON."""

    spec: bytes
    made_at: float
    summary: bytes
    parts: list[bytes]


_read: Unpacker[KeptAnswer] = Unpacker(KeptAnswer, "kept answer")


def _name(kind: str, keys: ResultSharing) -> bytes:
    return b"answer:" + kind.encode() + b":" + keys.cache_key


async def keep(cache: Cache, kind: str, keys: ResultSharing, answer: KeptAnswer) -> None:
    """Put the result into the cache unless its parts exceed `MOST_BYTES`."""
    if sum(map(len, answer.parts)) <= MOST_BYTES:
        await cache.put(_name(kind, keys), pack(answer), KEEP_S)


async def find(cache: Cache, kind: str, keys: ResultSharing, spec: bytes, now_wall: float) -> KeptAnswer | None:
    """Return the stored result for exactly this specification, or None when there is none that is recent enough."""
    blob = await cache.get(_name(kind, keys)) if keys.max_age_s > 0 else None
    if blob is None:
        return None
    try:
        answer = _read(blob)
    except DecodeError:
        return None
    return answer if answer.spec == spec and now_wall - answer.made_at <= keys.max_age_s else None
