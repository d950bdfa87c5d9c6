"""permessage-deflate (RFC 7692) without context takeover: no connection keeps a compressor or a window.

With context takeover a connection costs 270 KB. Without it every message is compressed independently, so one
compressor can serve all connections: a full flush at the end of each message resets its state (zlib manual, deflate,
Z_FULL_FLUSH). There is one compressor for each window size that a client can request, created when needed. A connection
stores only its window size, in half a byte of its flags.

A compressed message in one frame is inflated by `inflate`. One in several fragments, or in several reads, goes through
a wsproto parser with `InboundDeflate` as its extension. wsproto's own `PerMessageDeflate` is not used: up to version
1.3.2 it loses the information that a message is compressed at every control frame, and drops the data after a block
with BFINAL set. Both give the application wrong bytes without an error.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

WINDOW_BITS = 15
_TAIL = b"\x00\x00\xff\xff"
"""Removed by the sender from the end of each compressed message, appended by the receiver (RFC 7692 section 7.2)."""
_BITS = re.compile(r'("?)(8|9|1[0-5])\1').fullmatch
MAX_FINAL_BLOCKS = 256
"""Limit of blocks with BFINAL set in one message. Normal senders set it at most once; each costs a decompressor."""
_NO_BITS, _RSV1 = RsvBits(False, False, False), RsvBits(True, False, False)
"""The reserved header bits that the extension allows in a frame."""


def agree(offers: Iterable[str]) -> tuple[int, str] | None:
    """Return window size and answer for the first offer that can be accepted; None when there is none.

    An offer with a parameter that is unknown, repeated or out of range is declined (section 7.1). A window of 8 bits is
    also declined: zlib does not support it. When an offer names the server's window, the answer must name it too, even
    the largest (section 7.1.2.1).
    """
    for offer in offers:
        name, *parameters = [part.strip() for part in offer.split(";")]
        bits = _own_bits(parameters) if name == "permessage-deflate" else None
        if bits is not None:
            is_named = any(parameter.startswith("server_max_window_bits") for parameter in parameters)
            window = f"; server_max_window_bits={bits}" if is_named else ""
            return bits, f"{name}; server_no_context_takeover; client_no_context_takeover{window}"
    return None


def _own_bits(parameters: list[str]) -> int | None:
    """Return the server's window size for the parameters of an offer; None when the offer must be declined."""
    bits, seen = WINDOW_BITS, set()
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        is_good = bool(_BITS(value)) if name.endswith("_max_window_bits") and equals else not equals
        if name in seen or not is_good:
            return None
        seen.add(name)
        if name == "server_max_window_bits":
            bits = int(value.strip('"')) if equals else 0
        elif name not in ("client_max_window_bits", "server_no_context_takeover", "client_no_context_takeover"):
            return None
    return bits if bits >= 9 else None


class Deflater:
    """Compresses whole messages for all connections."""

    def __init__(self) -> None:
        self._compressors: dict[int, Any] = {}

    def deflate(self, payload: bytes, bits: int) -> bytes:
        """Return `payload` as the body of one compressed message, with a window of `bits` (9 to 15)."""
        # The compressor is kept only if the flush succeeded. After a failure (MemoryError) it still holds bytes of this
        # message and would put them into the next one, which may be for another client.
        compressor = self._compressors.pop(bits, None) or zlib.compressobj(wbits=-bits)
        data: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_FULL_FLUSH)
        self._compressors[bits] = compressor
        return data.removesuffix(_TAIL)


def inflate(body: bytes, max_bytes: int) -> bytes | None:
    """Return the payload of one whole compressed message.

    None when it is damaged, longer than `max_bytes`, or has a block with BFINAL set: the caller then uses a Parser.
    """
    decompressor = zlib.decompressobj(-WINDOW_BITS)
    try:
        payload = decompressor.decompress(body + _TAIL, max_bytes + 1)
    except zlib.error:
        return None
    is_whole = len(payload) <= max_bytes and not decompressor.unconsumed_tail and not decompressor.eof
    return payload if is_whole else None


class InboundDeflate(Extension):
    """Makes a server's wsproto parser read compressed messages, without a window from one message to the next.

    Only the first frame of a message says whether it is compressed. Control frames may come between its fragments
    (RFC 6455 section 5.4) and are never compressed (RFC 7692 section 6.1), so they pass unchanged and do not change the
    state here. Payload may come in pieces of any size; the caller limits the size of a piece, and so of the output.
    """

    name = "permessage-deflate"

    def __init__(self) -> None:
        self._is_control = False
        """The current frame is a control frame."""
        self._is_open = False
        """A fragmented message is in progress: its first frame is complete, and its last one is not."""
        self._decompressor: Any = None
        """Decompressor of the message in progress; None when there is none or it is not compressed."""
        self._final_blocks = 0
        """Blocks with BFINAL set in the message in progress so far."""

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        """Return False: only a client offers an extension."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Return RSV1 for the first frame of a message; wsproto rejects RSV1 with 1002 in all other frames.

        wsproto calls this again when a header comes in pieces, always before the frame's payload.
        """
        self._is_control = opcode.iscontrol()
        if self._is_control or opcode is Opcode.CONTINUATION:
            return _NO_BITS
        if self._is_open:  # wsproto would detect it only after taking the payload as part of the open message
            return CloseReason.PROTOCOL_ERROR
        self._decompressor, self._final_blocks = zlib.decompressobj(-WINDOW_BITS) if rsv.rsv1 else None, 0
        return _RSV1

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Return the uncompressed bytes of this piece of a frame's payload; 1007 or 1008 when it is invalid."""
        return data if self._is_control or self._decompressor is None else self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """Return the remaining bytes at the end of a message; 1007 when it is damaged, None when nothing remains."""
        if self._is_control:
            return None
        self._is_open = not fin
        if not fin or self._decompressor is None:
            return None
        data = self._inflate(_TAIL)
        self._decompressor = None
        return data

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        """Inflate a piece. A block with BFINAL set ends a zlib stream, but not a message (RFC 7692 section 7.2.3.4).

        The data after such a block begins at a byte boundary, with an empty window. A message with more than
        `MAX_FINAL_BLOCKS` of them is rejected with 1008: each is two bytes long and takes a microsecond of the loop.
        """
        out = []
        try:
            out.append(self._decompressor.decompress(data))
            while self._decompressor.eof:
                self._final_blocks += 1
                if self._final_blocks > MAX_FINAL_BLOCKS:
                    return CloseReason.POLICY_VIOLATION
                data = self._decompressor.unused_data
                self._decompressor = zlib.decompressobj(-WINDOW_BITS)
                out.append(self._decompressor.decompress(data))
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return b"".join(out)
