"""Frames as clients send them, good and bad, for tests."""

from __future__ import annotations

from hypothesis import strategies as st

from gateway.frames import unmask

MASK = b"\x12\xf4\x9c\x01"


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK, form: int = 0
) -> bytes:
    """One frame. `form` 126 or 127 forces a length form, shortest or not."""
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
"""Anything a client might send: mostly frames, good and bad, and some plain rubbish."""


@st.composite
def split_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream, and the same cut into pieces."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return stream, [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
