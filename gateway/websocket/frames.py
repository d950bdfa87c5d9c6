"""Bytes to messages and messages to bytes (RFC 6455 section 5). Pure.

Input is parsed in two stages. `plain` parses whole, unfragmented, masked frames, which are the ordinary traffic,
directly from the bytes, without state or objects. It stops at the first byte of anything else; from there a `Parser` is
used, which wraps wsproto and enforces limits. The parser is dropped as soon as it is `at_rest`, so that only a
connection with a frame or a fragmented message in progress has one. Both accept and reject exactly the same input; a
property test checks that.

`Parser` reads frame headers itself, for three reasons: wsproto has no size limit, returns payload before the length of
the whole frame can be checked, and has no public way to tell whether it is between messages. So each header is passed
to wsproto alone, and a length over the limit is rejected before any of its payload arrives (1009).

The results are `Event` pairs. Nothing follows after CLOSE or VIOLATION.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from roost.gateway.websocket.deflate import Deflater, InboundDeflate, inflate
from roost.wire.codes import BAD_TEXT, Close

_INFLATE_STEP = 1024
"""Compressed bytes inflated at a time: they give at most 1 MiB before the limit is checked."""

MAX_CONTROL_BYTES = 125
"""Largest payload of a control frame (RFC 6455 section 5.5)."""


class Kind(IntEnum):
    """Kind of an event. The payloads, in order: str, bytes, (code, reason), bytes, bytes, the Close to answer with."""

    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA
    VIOLATION = 0xF


Event = tuple[int, Any]

_TEXT, _BINARY, _CLOSE, _PING, _PONG, _VIOLATION = (int(kind) for kind in Kind)


_TEXT_HEADS, BINARY_HEADS = (tuple(bytes((first, size)) for size in range(126)) for first in (0x81, 0x82))
"""Frame headers of small outgoing messages, by payload size."""


def encode(message: str | bytes) -> bytes:
    """Return the message as one unmasked frame of a server. Raises UnicodeEncodeError for a lone surrogate."""
    if type(message) is str:
        payload = message.encode()
        size = len(payload)
        return (_TEXT_HEADS[size] if size < 126 else _head(0x81, size)) + payload
    size = len(message)
    return (BINARY_HEADS[size] if size < 126 else _head(0x82, size)) + message  # type: ignore[operator]


def encode_deflated(message: str | bytes, deflater: Deflater, bits: int) -> bytes:
    """Like `encode`, with the payload compressed for a window of `bits` (9 to 15)."""
    body = deflater.deflate(message.encode() if isinstance(message, str) else message, bits)
    return _head(0xC1 if isinstance(message, str) else 0xC2, len(body)) + body


def _head(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 0x10000:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


def ping_bytes(payload: bytes = b"") -> bytes:
    """Return a ping frame; `payload` has at most 125 bytes."""
    return bytes((0x89, len(payload))) + payload


def pong_bytes(payload: bytes) -> bytes:
    """Return the pong frame that answers a ping with this payload."""
    return bytes((0x8A, len(payload))) + payload


def close_bytes(code: int, reason: str = "") -> bytes:
    """Return a close frame. Code 1005 means no code and gives an empty frame; the reason is cut to 123 bytes."""
    if code == 1005:
        return b"\x88\x00"
    text = reason.encode(errors="replace")[: MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return bytes((0x88, 2 + len(text))) + code.to_bytes(2, "big") + text


def unmask(payload: bytes, key: bytes) -> bytes:
    """Return `payload` unmasked with the 4-byte `key` (RFC 6455 section 5.3). Masking is the same operation."""
    size = len(payload)
    mask = key * (size // 4) + key[: size % 4]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


REPEAT = [int.from_bytes(b"\x01\0\0\0" * -(-size // 4), "little") for size in range(MAX_CONTROL_BYTES + 1)]
"""By payload size: the factor that repeats a masking key (little-endian) over the payload and up to 3 more bytes."""
CUT = [(1 << 8 * size) - 1 for size in range(MAX_CONTROL_BYTES + 1)]

TEXT, BINARY = ([first | (0x80 + size) << 8 for size in range(MAX_CONTROL_BYTES + 1)] for first in (0x81, 0x82))
"""By payload size: the first two bytes of an uncompressed masked frame (little-endian)."""


def single(data: bytes, limit: int) -> str | bytes | None:
    """Return the message if `data` is exactly one uncompressed data frame of at most `limit` bytes, else None.

    Most reads are of this form, so it is tried first.
    """
    size = len(data) - 6
    if not 0 <= size <= MAX_CONTROL_BYTES:
        return _single_longer(data, limit)
    frame = int.from_bytes(data, "little")
    start = frame & 0xFFFFFFFFFFFF
    head = start & 0xFFFF
    if size > limit or (head != BINARY[size] and head != TEXT[size]):
        return None
    mask = (start >> 16) * REPEAT[size]
    payload = (frame >> 48 ^ (mask & CUT[size] if size % 4 else mask)).to_bytes(size, "little")
    return payload if head & 0xFF == 0x82 else _text(payload)


def _single_longer(data: bytes, limit: int) -> str | bytes | None:
    """Like `single`, for a frame with the 16-bit extended payload length."""
    size = len(data) - 8
    if not MAX_CONTROL_BYTES < size <= limit or data[1] != 0xFE or data[2] << 8 | data[3] != size:
        return None
    if data[0] == 0x82:
        return unmask(data[8:], data[4:8])
    return _text(unmask(data[8:], data[4:8])) if data[0] == 0x81 else None


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def is_empty_pong(data: bytes) -> bool:
    """Whether `data` is exactly a pong without payload, the answer to a ping of the gateway; it needs no handling."""
    return len(data) == 6 and data[0] == 0x8A and data[1] == 0x80


_PLAIN = {0x81: _TEXT, 0x82: _BINARY, 0x89: _PING, 0x8A: _PONG}
"""First byte of the frames that `plain` parses: FIN set, no reserved bits."""
_CLOSE_FRAME = 0x88
_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, *range(1007, 1014), *range(3000, 5000)))
"""Codes allowed in a close frame (section 7.4 and its IANA registry)."""
_DEFLATED = {0xC1: _TEXT, 0xC2: _BINARY}
"""First byte of compressed messages in one frame."""


def plain(data: bytes, max_bytes: int, *, deflated: bool = False) -> tuple[list[Event], int]:
    """Parse whole ordinary frames at the start of `data`; return their events and how many bytes they had.

    `deflated`: compression was agreed. After a close frame all remaining bytes are ignored and counted as parsed.
    """
    events: list[Event] = []
    at, size = 0, len(data)
    while at + 6 <= size:
        first = data[at]
        kind = _PLAIN.get(first) or (_DEFLATED.get(first) if deflated else None)
        if first == _CLOSE_FRAME:
            closed = plain_close(data[at:])
            return ([*events, (_CLOSE, closed)], size) if closed else (events, at)
        length = data[at + 1] - 0x80
        start = at + 6
        if length == 126 and start + 2 <= size:
            length = data[at + 2] << 8 | data[at + 3]
            start += 2
            if length < 126 or kind is None or kind > _BINARY:
                break
        end = start + length
        if kind is None or length < 0 or length == 127 or end > size or length > max_bytes:
            break
        payload: Any = unmask(data[start:end], data[start - 4 : start])
        if first >= 0xC1:
            payload = inflate(payload, max_bytes)
            if payload is None:
                break
        if kind == _TEXT:
            try:
                payload = payload.decode()
            except UnicodeDecodeError:
                break
        events.append((kind, payload))
        at = end
    return events, at


def plain_close(data: bytes) -> tuple[int, str] | None:
    """Return code and reason of a close frame at the start of `data`; None when it is absent, incomplete or invalid.

    Code 1005 means that the frame has no code.
    """
    if len(data) < 6 or data[0] != _CLOSE_FRAME:
        return None
    length = data[1] - 0x80
    body = unmask(data[6 : 6 + length], data[2:6]) if 0 <= length <= MAX_CONTROL_BYTES else b"?"
    if len(body) != length:
        return None
    if not body:
        return 1005, ""
    code = int.from_bytes(body[:2], "big")
    try:
        return (code, body[2:].decode()) if length >= 2 and code in _CLOSE_CODES else None
    except UnicodeDecodeError:
        return None


class Parser:
    """Parses a partial frame or fragmented message with wsproto, and limits its bytes and fragments."""

    def __init__(self, max_bytes: int, max_fragments: int, begun: int = 0, *, deflated: bool = False) -> None:
        self.begun = begun
        """The tick at which the current message began; maintained by the caller."""
        self._max_bytes = max_bytes
        self._max_fragments = max_fragments
        self._wsproto = Connection(ConnectionType.SERVER, [InboundDeflate()] if deflated else [])
        self._is_deflated = False
        """The current message is compressed."""
        self._head = bytearray()
        self._missing = 0
        """Payload bytes of the current frame still to come."""
        self._message: list[Any] = []
        self._message_bytes = 0
        self._inflated_bytes = 0
        self._fragments = 0
        self.over = False
        """A CLOSE or VIOLATION event was returned; no more events follow."""

    @property
    def at_rest(self) -> bool:
        """No frame and no fragmented message is in progress, so the parser can be dropped."""
        return not (self._head or self._missing or self._fragments or self.over)

    def feed(self, data: bytes) -> Iterator[Event]:
        """Parse more bytes; yield their events."""
        at = 0
        while at < len(data) and not self.over:
            if self._missing:
                piece = data[at : at + (min(self._missing, _INFLATE_STEP) if self._is_deflated else self._missing)]
                self._missing -= len(piece)
            else:
                piece = data[at : at + self._head_missing()]
                self._head += piece
            at += len(piece)
            self._wsproto.receive_data(piece)
            if self._head and not self._head_missing() and (limit := self._begin_frame()):
                yield self._refuse(limit)
                return
            yield from self._events()

    def _refuse(self, limit: Close) -> Event:
        """Return the violation; one found by wsproto in the header comes first, so it does not depend on the reads."""
        faults = [event for event in self._events() if event[0] == _VIOLATION]
        self.over = True
        return faults[0] if faults else (_VIOLATION, limit)

    def _head_missing(self) -> int:
        """Return how many header bytes are missing, as far as the bytes so far tell."""
        head = self._head
        if len(head) < 2:
            return 2 - len(head)
        extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        return 2 + extended + (4 if head[1] & 0x80 else 0) - len(head)

    def _begin_frame(self) -> Close | None:
        """Process a complete header; return the violation when it exceeds a limit, else None."""
        head, short = self._head, self._head[1] & 0x7F
        length = short if short < 126 else int.from_bytes(head[2 : 4 if short == 126 else 10], "big")
        is_control = head[0] & 0x08
        self._head = bytearray()
        self._missing = length
        if is_control:
            return None
        if not self._fragments:
            self._is_deflated = bool(head[0] & 0x40)
        self._fragments += 1
        self._message_bytes += length
        if self._message_bytes > self._allowed_bytes():
            return self._too_big()
        if self._fragments > self._max_fragments:
            return Close(1008, f"too many fragments: at most {self._max_fragments} in a message")
        return None

    def _allowed_bytes(self) -> int:
        """Return the limit of payload bytes for the frames of the current message so far.

        A compressed message within the limit may be longer than the limit on the wire: incompressible data grows by
        little more than an eighth at most (zlib, deflateBound), and a flush at the end of a fragment adds up to 10
        bytes. Anything longer is rejected without inflating it.
        """
        if not self._is_deflated:
            return self._max_bytes
        return self._max_bytes + self._max_bytes // 4 + 64 + 16 * self._fragments

    def _too_big(self) -> Close:
        return Close(1009, f"message too big: at most {self._max_bytes} bytes")

    def _events(self) -> Iterator[Event]:
        for event in self._wsproto.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                self._message.append(event.data)
                if self._is_deflated and self._inflated(event.data) > self._max_bytes:
                    self.over = True
                    yield _VIOLATION, self._too_big()
                    return
                if event.message_finished:
                    yield self._whole(is_text=isinstance(event, TextMessage))
            elif isinstance(event, Ping):
                yield _PING, bytes(event.payload)
            elif isinstance(event, Pong):
                yield _PONG, bytes(event.payload)
            elif isinstance(event, CloseConnection):
                self.over = True
                yield self._closed(event)

    def _inflated(self, data: str | bytes | bytearray) -> int:
        """Count inflated bytes of a compressed message; return their total so far."""
        self._inflated_bytes += len(data.encode() if isinstance(data, str) else data)
        return self._inflated_bytes

    def _whole(self, *, is_text: bool) -> Event:
        message = "".join(self._message) if is_text else b"".join(self._message)
        self._message, self._message_bytes, self._fragments, self._inflated_bytes = [], 0, 0, 0
        return (_TEXT if is_text else _BINARY), message

    def _closed(self, event: CloseConnection) -> Event:
        """Return a CLOSE or VIOLATION event; wsproto reports both alike, but only a close frame changes its state."""
        if self._wsproto.state is ConnectionState.OPEN:
            return _VIOLATION, BAD_TEXT if event.code == BAD_TEXT.number else Close(int(event.code), event.reason or "")
        return _CLOSE, (int(event.code), event.reason or "")
