"""Conversion between messages and bytes: JSON for clients, msgpack between processes, zstd for large blobs.

Invalid bytes always raise `DecodeError`. Its message is safe to send back to the sender of the bytes.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
import zstandard

from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError

T = TypeVar("T")

COMPRESS_FROM_BYTES = 512
"""Smaller blobs are not compressed: a zstd frame would cost more than it saves."""

REASON_CHARS = 200
"""Most characters of a decoder's error message that are passed on. It may quote the input, which may be long."""

_PLAIN, _ZSTD = b"\x00", b"\x01"

pack = msgspec.msgpack.Encoder().encode
"""Encodes an internal message as msgpack bytes."""

to_json = msgspec.json.Encoder().encode
"""Encodes a message as JSON bytes (UTF-8)."""


class Unpacker(Generic[T]):
    """Decodes msgpack bytes into one type or a tagged union of types. Make it once and reuse it."""

    def __init__(self, kind: Any, name: str) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._name = name

    def __call__(self, data: bytes) -> T:
        """The message in `data`. Raises DecodeError."""
        try:
            return self._decoder.decode(data)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise _refusal(ErrorCode.BAD_MESSAGE, f"not a valid {self._name}", problem) from problem


class JsonReader(Generic[T]):
    """Decodes JSON text or bytes into one type or a tagged union of types. Make it once and reuse it."""

    def __init__(self, kind: Any, name: str) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._name = name

    def __call__(self, text: str | bytes) -> T:
        """The message in `text`.

        Raises DecodeError, with code `bad_json` for text that is not JSON, `bad_message` for JSON of another shape.
        """
        try:
            return self._decoder.decode(text)  # type: ignore[no-any-return]
        except msgspec.ValidationError as problem:
            raise _refusal(ErrorCode.BAD_MESSAGE, f"not a valid {self._name}", problem) from problem
        except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
            raise _refusal(ErrorCode.BAD_JSON, "not JSON", problem) from problem


def _refusal(code: ErrorCode, what: str, problem: Exception) -> DecodeError:
    return DecodeError(code, f"{what}: {str(problem)[:REASON_CHARS]}")


def compress(data: bytes) -> bytes:
    """The blob from which `decompress` restores `data`. Small data is marked as uncompressed."""
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
        if not 0 <= size <= max_bytes:  # -1: the frame has no content size; `compress` always writes one
            raise DecodeError(ErrorCode.TOO_BIG, f"blob holds more than {max_bytes} bytes")
        return body if mark == _PLAIN else zstandard.decompress(body)
    except zstandard.ZstdError as problem:
        raise DecodeError(ErrorCode.BAD_MESSAGE, f"damaged blob: {problem}") from problem
