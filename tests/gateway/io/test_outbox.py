from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roost.gateway.io.outbox import Outbox

PIECES = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=8)


def sink(takes: list[int]) -> tuple[bytearray, object]:
    got = bytearray()

    def write(piece: memoryview) -> int:
        count = min(takes.pop(0), len(piece)) if takes else len(piece)
        got.extend(piece[:count])
        return count

    return got, write


@given(PIECES, st.data(), st.lists(st.integers(0, 20), max_size=30))
def test_all_bytes_arrive_once_and_in_order_however_little_is_taken_at_a_time(
    pieces: list[bytes], data: st.DataObject, takes: list[int]
) -> None:
    sent = data.draw(st.integers(0, len(pieces[0])))
    outbox = Outbox(pieces[0], sent, tick=1)
    for piece in pieces[1:]:
        outbox.put(piece, tick=2)
    whole = b"".join(pieces)[sent:]
    assert outbox.byte_count == len(whole)
    got, write = sink(takes)
    while not outbox.flush(write):  # type: ignore[arg-type]
        assert outbox.byte_count == len(whole) - len(got)
    assert got == whole
    assert outbox.byte_count == 0


@given(PIECES, st.lists(st.integers(0, 20), max_size=10))
def test_dropping_leaves_at_most_the_rest_of_a_frame_that_was_begun(pieces: list[bytes], takes: list[int]) -> None:
    outbox = Outbox(pieces[0], 0, tick=1)
    for piece in pieces[1:]:
        outbox.put(piece, tick=1)
    got, write = sink([*takes, 0])
    outbox.flush(write)  # type: ignore[arg-type]
    outbox.drop_unstarted()
    left, take_all = sink([])
    outbox.flush(take_all)  # type: ignore[arg-type]
    sent = bytes(got + left)
    ends = [len(b"".join(pieces[:count])) for count in range(len(pieces) + 1)]
    assert sent == b"".join(pieces)[: len(sent)]
    assert len(sent) in ends, "the stream ends at the end of a frame"
    assert len(sent) - len(got) < max(map(len, pieces))


def test_age_is_that_of_the_oldest_piece_that_still_waits() -> None:
    outbox = Outbox(b"first", 0, tick=5)
    outbox.put(b"second", tick=9)
    assert outbox.oldest() == 5
    _, write = sink([5, 0])
    outbox.flush(write)  # type: ignore[arg-type]
    assert outbox.oldest() == 9
