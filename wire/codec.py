"""Bytes to messages and back: JSON at the client's edge, msgpack inside, zstd for large blobs.

Whatever is wrong with the bytes comes out as `DecodeError`, with a message that is safe to send
back to whoever sent them.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
import zstandard

from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError

T = TypeVar("T")

COMPRESS_FROM_BYTES = 512
"""Below this a zstd frame costs more than it saves."""

REASON_CHARS = 200
"""How much of a decoder's complaint is passed on: it may quote the input, which may be long."""

_PLAIN, _ZSTD = b"\x00", b"\x01"

pack = msgspec.msgpack.Encoder().encode
"""Internal message -> msgpack bytes."""

to_json = msgspec.json.Encoder().encode
"""Client message -> JSON bytes (UTF-8)."""


class Unpacker(Generic[T]):
    """msgpack bytes -> one type or a tagged union of types; make it once, use it often."""

    def __init__(self, kind: Any, name: str) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._name = name

    def __call__(self, data: bytes) -> T:
        """Raises DecodeError."""
        try:
            return self._decoder.decode(data)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise _refusal(ErrorCode.BAD_MESSAGE, f"not a valid {self._name}", problem) from problem


class JsonReader(Generic[T]):
    """JSON text or bytes -> one type or a tagged union of types; make it once, use it often."""

    def __init__(self, kind: Any, name: str) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._name = name

    def __call__(self, text: str | bytes) -> T:
        """Raises DecodeError: `bad_json` when it is not JSON at all, `bad_message` when it is another shape."""
        try:
            return self._decoder.decode(text)  # type: ignore[no-any-return]
        except msgspec.ValidationError as problem:
            raise _refusal(ErrorCode.BAD_MESSAGE, f"not a valid {self._name}", problem) from problem
        except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
            raise _refusal(ErrorCode.BAD_JSON, "not JSON", problem) from problem


def _refusal(code: ErrorCode, what: str, problem: Exception) -> DecodeError:
    return DecodeError(code, f"{what}: {str(problem)[:REASON_CHARS]}")


def compress(data: bytes) -> bytes:
    """A blob that `decompress` takes back; small ones are only marked."""
    if len(data) < COMPRESS_FROM_BYTES:
        return _PLAIN + data
    return _ZSTD + zstandard.compress(data, 3)


def decompress(blob: bytes, max_bytes: int) -> bytes:
    """The blob's data. Raises DecodeError when it is damaged or longer than `max_bytes`."""
    mark, body = blob[:1], blob[1:]
    if mark not in (_PLAIN, _ZSTD):
        raise DecodeError(ErrorCode.BAD_MESSAGE, "not a blob")
    try:
        size = len(body) if mark == _PLAIN else zstandard.frame_content_size(body)
        if not 0 <= size <= max_bytes:  # -1: the frame does not say, which `compress` never leaves out
            raise DecodeError(ErrorCode.TOO_BIG, f"blob holds more than {max_bytes} bytes")
        return body if mark == _PLAIN else zstandard.decompress(body)
    except zstandard.ZstdError as problem:
        raise DecodeError(ErrorCode.BAD_MESSAGE, f"damaged blob: {problem}") from problem
