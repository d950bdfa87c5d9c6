"""Valid and invalid frames as clients send them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from hypothesis import strategies as st

from roost.gateway.websocket.frames import Event, Kind, unmask

MASK = b"\x12\xf4\x9c\x01"


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK, form: int = 0
) -> bytes:
    """Return one frame. `form` 126 or 127 forces that length encoding, even if it is not the shortest."""
    size = len(payload)
    form = form or (size if size < 126 else 126 if size < 0x10000 else 127)
    head = bytes((fin << 7 | rsv << 4 | opcode, (0x80 if mask else 0) | min(form, 127)))
    if form == 126:
        head += size.to_bytes(2, "big")
    elif form == 127:
        head += size.to_bytes(8, "big")
    return head + (mask + unmask(payload, mask) if mask else payload)


def text(message: str, **how: object) -> bytes:
    return frame(1, message.encode(), **how)  # type: ignore[arg-type]


def close(code: int, reason: str = "") -> bytes:
    return frame(8, code.to_bytes(2, "big") + reason.encode())


def deflated(parts: Sequence[bytes], flushes: Sequence[int] = (), compressor: Sequence[int] = (-1, 15, 8, 0)) -> bytes:
    """Return the body of one compressed message, made by zlib as in RFC 7692 section 7.2.1.

    Each part is followed by a flush of the given mode; Z_FINISH sets BFINAL and starts a new stream. `compressor`:
    level, window bits, memLevel, strategy.
    """
    level, bits, memory, strategy = compressor

    def make() -> zlib._Compress:
        return zlib.compressobj(level, zlib.DEFLATED, -bits, memory, strategy)

    body, current = b"", make()
    for index, part in enumerate(parts):
        mode = flushes[index] if index < len(flushes) else zlib.Z_NO_FLUSH
        body += current.compress(part) + current.flush(mode)
        if mode == zlib.Z_FINISH:
            current = make()
    return (body + current.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def in_fragments(opcode: int, parts: Sequence[bytes], rsv: int = 0) -> list[bytes]:
    """Return the frames of one message with these fragments."""
    last = len(parts) - 1
    return [
        frame(0 if index else opcode, part, fin=index == last, rsv=0 if index else rsv)
        for index, part in enumerate(parts)
    ]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut `data` at these offsets; an offset beyond its end is its end."""
    inner = sorted(min(place, len(data)) for place in places)
    return [data[a:b] for a, b in zip([0, *inner], [*inner, len(data)], strict=True)]


masks = st.binary(min_size=4, max_size=4)
texts = st.text(max_size=150)
small = st.binary(max_size=150)
control = st.binary(max_size=125)

whole_messages = st.one_of(
    st.builds(lambda message, mask: frame(1, message.encode(), mask=mask), texts, masks),
    st.builds(lambda payload, mask: frame(2, payload, mask=mask), small, masks),
    st.builds(lambda payload, mask: frame(9, payload, mask=mask), control, masks),
    st.builds(lambda payload, mask: frame(10, payload, mask=mask), control, masks),
)


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A fragmented message, with control frames between its fragments."""
    opcode = draw(st.sampled_from((1, 2)))
    payload = draw(texts).encode() if opcode == 1 else draw(small)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    out = b""
    for index, part in enumerate(parts):
        if index and draw(st.booleans()):
            out += frame(draw(st.sampled_from((9, 10))), draw(control))
        out += frame(0 if index else opcode, part, fin=index == len(parts) - 1, mask=draw(masks))
    return out


odd_frames = st.builds(
    frame,
    st.integers(0, 15),
    st.one_of(small, st.binary(min_size=120, max_size=140)),
    fin=st.booleans(),
    rsv=st.sampled_from((0, 0, 0, 1, 4)),
    mask=st.one_of(masks, st.none()),
    form=st.sampled_from((0, 0, 126, 127)),
)

closes = st.one_of(
    st.builds(close, st.integers(0, 5100), st.text(max_size=20)), st.builds(lambda data: frame(8, data), control)
)

streams = st.lists(
    st.one_of(whole_messages, whole_messages, fragmented(), odd_frames, closes, st.binary(max_size=12)), max_size=6
).map(b"".join)
"""Arbitrary client input: mostly frames, valid and invalid, and some random bytes."""


@st.composite
def split_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream, and the same stream cut into pieces."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return stream, [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


places = st.lists(st.integers(0, 300), max_size=4)
compressors = st.tuples(st.integers(-1, 9), st.integers(9, 15), st.integers(1, 9), st.integers(0, 4))
flush_modes = st.sampled_from((zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH))
controls = st.lists(st.tuples(st.sampled_from((Kind.PING, Kind.PONG)), control), max_size=2)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """Whole messages and the bytes that encode them: compressed by zlib or not, in one frame or several fragments, with
    control frames between any two frames.
    """
    frames: list[bytes] = []
    events: list[Event] = []
    for message in draw(st.lists(st.one_of(texts, small, st.just("\u00e9" * 200), st.just(bytes(999))), max_size=4)):
        payload = message.encode() if isinstance(message, str) else message
        kind, rsv = (Kind.TEXT if isinstance(message, str) else Kind.BINARY), draw(st.sampled_from((0, 4)))
        if rsv:
            parts = cut(payload, draw(places))
            payload = deflated(parts, draw(st.lists(flush_modes, max_size=len(parts))), draw(compressors))
        for piece in in_fragments(kind, cut(payload, draw(places)), rsv):
            between = draw(controls)
            frames += [frame(opcode, data) for opcode, data in between] + [piece]
            events += between
        events.append((kind, message))
    return b"".join(frames), events
