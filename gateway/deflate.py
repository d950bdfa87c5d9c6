"""permessage-deflate (RFC 7692) without context takeover: no connection keeps a compressor or a window.

With context takeover a connection costs 270 KB. Without it every message is compressed on its own, and so one
compressor can serve all connections: a full flush at the end of each message makes it forget what it has seen
(zlib manual, deflate, Z_FULL_FLUSH). There is one for each window size that a client may ask for, made when needed.
What a connection keeps is that window size, half a byte of its flags.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any

from wsproto.extensions import PerMessageDeflate

WINDOW_BITS = 15
_TAIL = b"\x00\x00\xff\xff"
_BITS = re.compile(r'"?(8|9|1[0-5])"?').fullmatch


def agree(offers: Iterable[str]) -> tuple[int, str] | None:
    """The first of a client's offers that can be met: our window size, and the answer. None when there is none.

    An offer with a parameter that is unknown, repeated or out of range is declined (section 7.1). A window of 8 bits
    is declined, too: zlib cannot make one.
    """
    for offer in offers:
        name, *parameters = [part.strip() for part in offer.split(";")]
        bits = _own_bits(parameters) if name == "permessage-deflate" else None
        if bits is not None:
            asked = f"; server_max_window_bits={bits}" if bits != WINDOW_BITS else ""
            return bits, f"{name}; server_no_context_takeover; client_no_context_takeover{asked}"
    return None


def _own_bits(parameters: list[str]) -> int | None:
    """The window that these parameters of an offer leave us; None when the offer is to be declined."""
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
        """`payload` as the body of one compressed message, made with a window of `bits` (9 to 15)."""
        compressor = self._compressors.get(bits)
        if compressor is None:
            compressor = self._compressors[bits] = zlib.compressobj(wbits=-bits)
        data: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_FULL_FLUSH)
        return data.removesuffix(_TAIL)


def inflate(body: bytes, max_bytes: int) -> bytes | None:
    """The payload of one whole compressed message; None when it is damaged or longer than `max_bytes`."""
    decompressor = zlib.decompressobj(-WINDOW_BITS)
    try:
        payload = decompressor.decompress(body + _TAIL, max_bytes + 1)
    except zlib.error:
        return None
    is_whole = len(payload) <= max_bytes and not decompressor.unconsumed_tail and not decompressor.eof
    return payload if is_whole else None


def extension() -> PerMessageDeflate:
    """What makes a wsproto parser understand compressed messages of a client."""
    deflate = PerMessageDeflate(client_no_context_takeover=True)
    deflate.finalize("permessage-deflate; client_no_context_takeover")
    return deflate
