"""Compressed messages in fragments, with control frames between them. The oracle is zlib, which made the messages.

wsproto cannot be the oracle: it is part of the code under test, and its own extension loses the message in progress.
"""

from __future__ import annotations

import itertools
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.gateway.examples.echo import Echo
from roost.gateway.io.batch import ReadMessages
from roost.gateway.io.transport import Plain
from roost.gateway.settings import Settings
from roost.gateway.websocket.deflate import MAX_FINAL_BLOCKS
from roost.gateway.websocket.frames import Event, Kind, close_bytes, encode, pong_bytes
from tests.gateway.fuzz import REQUEST
from tests.gateway.io.lone import Lone
from tests.gateway.io.test_batch import READERS
from tests.gateway.websocket.bytes_of import close, conversations, cut, deflated, frame, in_fragments
from tests.gateway.websocket.test_frames import codes_only, receive

pytestmark = pytest.mark.slow

TEXT = "añb€c"
BODY = deflated([TEXT.encode()])
CONTROLS = (frame(9, b"ping"), frame(10), frame(10, BODY))


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


def codes(stream: bytes, max_bytes: int = 1000) -> list[Event]:
    """Return the events of a stream read at once; checked to be the same for every split in two and byte by byte."""
    events = codes_only(receive([stream], max_bytes, deflated=True))
    for place in range(1, len(stream)):
        assert codes_only(receive(cut(stream, [place]), max_bytes, deflated=True)) == events, place
    assert codes_only(receive(bytewise(stream), max_bytes, deflated=True)) == events
    return events


@given(conversations(), st.lists(st.integers(0, 1500), max_size=8))
def test_what_zlib_compressed_comes_out_as_it_was_whatever_the_fragments_controls_and_reads(
    conversation: tuple[bytes, list[Event]], places: list[int]
) -> None:
    stream, events = conversation
    assert receive(cut(stream, places), deflated=True) == events
    assert receive([stream], deflated=True) == events
    assert receive(bytewise(stream), deflated=True) == events


@pytest.mark.parametrize("rsv", [0, 4], ids=["uncompressed", "compressed"])
def test_control_frames_in_any_gap_between_any_three_fragments_change_nothing(rsv: int) -> None:
    body = BODY if rsv else TEXT.encode()
    for places in itertools.combinations_with_replacement(range(len(body) + 1), 2):
        fragments = in_fragments(1, cut(body, places), rsv)
        for chosen in itertools.product((b"", b"".join(CONTROLS)), repeat=4):
            stream = b"".join(gap + piece for gap, piece in zip(chosen, [*fragments, b""], strict=True))
            for pieces in ([stream], bytewise(stream)):
                events = receive(pieces, deflated=True)
                assert [event for event in events if event[0] == Kind.TEXT] == [(Kind.TEXT, TEXT)]
                count = sum(map(bool, chosen))
                assert sum(event in ((9, b"ping"), (10, b""), (10, BODY)) for event in events) == 3 * count
                assert len(events) == 1 + 3 * count


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_gateway_reads_that_end_at_any_byte_give_the_application_the_message(read: ReadMessages) -> None:
    transport = Plain()
    transport.read_messages = read
    gateway = Lone(Echo(), Settings(compression=True), transport)
    greeting = gateway.throw([REQUEST])
    assert b"permessage-deflate" in greeting
    for place, chosen in itertools.product(range(len(BODY) + 1), itertools.product((b"", *CONTROLS[:2]), repeat=3)):
        first, last = in_fragments(1, cut(BODY, [place]), 4)
        before, between, after = chosen
        stream = before + first + between + last + after
        pongs = [pong_bytes(b"ping") if control == CONTROLS[0] else b"" for control in chosen]
        answer = greeting + pongs[0] + pongs[1] + encode(TEXT) + pongs[2]
        frames = [piece for piece in (before, first, between, last, after) if piece]
        splits = [cut(stream, [split]) for split in range(1, len(stream))] if not before and not after else []
        for pieces in (*splits, frames, bytewise(stream)):
            assert gateway.throw([REQUEST, *pieces]) == answer, (place, pieces)


HEAD, TAIL = frame(1, BODY[:4], fin=False, rsv=4), frame(0, BODY[4:])
DAMAGED = b"\xff\xff\xff"


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (HEAD + frame(9, b"x", rsv=4) + TAIL, 1002),
        (HEAD + frame(10, b"", rsv=4) + TAIL, 1002),
        (HEAD + frame(8, b"", rsv=4), 1002),
        (frame(9, b"x", rsv=4), 1002),
        (HEAD + frame(0, BODY[4:], rsv=4), 1002),
        (frame(1, b"a", fin=False) + frame(0, b"b", rsv=4), 1002),
        (frame(0, BODY, rsv=4), 1002),
        (frame(0, BODY), 1002),
        (frame(1, BODY, rsv=6), 1002),
        (frame(1, BODY, rsv=5), 1002),
        (HEAD + frame(9, b"x", fin=False) + TAIL, 1002),
        (HEAD + frame(1, BODY, rsv=4), 1002),
        (HEAD + frame(1, DAMAGED), 1002),
        (HEAD + frame(10) + frame(2, DAMAGED, rsv=4), 1002),
        (frame(1, b"a", fin=False) + frame(1, DAMAGED, rsv=4), 1002),
        (HEAD + frame(10) + frame(0, DAMAGED), 1007),
        (frame(2, b"\x00", fin=False, rsv=4) + frame(10) + frame(0, b"\x05"), 1007),
        (frame(1, deflated([b"\xc3\x28"])[:3], fin=False, rsv=4) + frame(0, deflated([b"\xc3\x28"])[3:]), 1007),
        (frame(1, deflated([b"a\xc3"]), rsv=4), 1007),
    ],
)
def test_what_is_wrong_around_fragments_is_refused_with_one_code_for_every_split(stream: bytes, code: int) -> None:
    assert [event for event in codes(stream) if event[0] not in (Kind.PONG, Kind.PING)] == [(Kind.VIOLATION, code)]


def test_a_close_frame_between_fragments_is_heard() -> None:
    assert codes(HEAD + frame(9, b"x") + close(1001, "bye")) == [(Kind.PING, b"x"), (Kind.CLOSE, (1001, "bye"))]
    gateway = Lone(Echo(), Settings(compression=True))
    assert gateway.throw([REQUEST, HEAD, close(1001, "bye")]).endswith(close_bytes(1001, "bye"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("f2 48 cd c9 c9 07 00", "Hello"),  # the examples of RFC 7692 section 7.2.3
        ("00 05 00 fa ff 48 65 6c 6c 6f 00", "Hello"),
        ("f3 48 cd c9 c9 07 00 00", "Hello"),
        ("f2 48 05 00 00 00 ff ff ca c9 c9 07 00", "Hello"),
        ("00", ""),
        ("", ""),
        ("03 00", ""),  # blocks with BFINAL set
        ("03 00 03 00 00", ""),
        ("f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00", "HelloHello"),
        ("f3 48 cd c9 c9 07 00 f2 48 cd c9 c9 07 00", "HelloHello"),
        ("f3 48 cd c9 c9 07 00", "Hello"),  # the empty block after it is missing; nothing is lost
    ],
)
def test_every_form_of_a_compressed_message_is_read(body: str, message: str) -> None:
    data = bytes.fromhex(body)
    assert codes(frame(1, data, rsv=4) * 2) == [(Kind.TEXT, message)] * 2
    for place in range(len(data) + 1):
        first, last = in_fragments(1, cut(data, [place]), 4)
        assert codes(first + frame(10) + last) == [(Kind.PONG, b""), (Kind.TEXT, message)]


@given(
    st.one_of(st.binary(max_size=40), st.integers(0, 40).map(lambda size: deflated([b"ab" * 20 + bytes(40)])[:size])),
    st.lists(st.integers(0, 40), max_size=4),
    st.lists(st.integers(0, 100), max_size=4),
)
def test_damaged_messages_fare_alike_in_one_frame_and_in_fragments(
    body: bytes, places: list[int], reads: list[int]
) -> None:
    stream = frame(10).join(in_fragments(2, cut(body, places), 4))
    events = codes_only(receive(cut(stream, reads), 10**6, deflated=True))
    assert [event for event in events if event[0] != Kind.PONG] == codes_only(
        receive([frame(2, body, rsv=4)], 10**6, deflated=True)
    )


FLUSHES = {"sync": zlib.Z_SYNC_FLUSH, "full": zlib.Z_FULL_FLUSH, "final": zlib.Z_FINISH}


@pytest.mark.parametrize("flush", FLUSHES.values(), ids=FLUSHES)
@pytest.mark.parametrize("fragments", [1, 2, 100])
@pytest.mark.parametrize(
    "compressor", [(-1, 15, 8, 0), (-1, 9, 1, 0), (0, 15, 1, 0), (9, 15, 9, zlib.Z_FIXED)], ids=str
)
def test_a_message_at_the_limit_is_taken_and_one_byte_more_refused_however_badly_it_compresses(
    compressor: tuple[int, ...], fragments: int, flush: int
) -> None:
    for size in (100, 1000, 20_000):
        message = bytes(random.Random(size).choices(range(144, 256), k=size))  # codes of nine bits in Z_FIXED
        parts = cut(message, [size * index // fragments for index in range(1, fragments)])
        done = [deflated(parts[: index + 1], [flush] * index, compressor) for index in range(fragments)]
        body, places = done[-1], [min(len(piece), len(done[-1])) for piece in done[:-1]]
        frames = in_fragments(2, cut(body, places), 4)
        stream = frame(10).join(frames)
        pongs = [(Kind.PONG, b"")] * (fragments - 1)
        assert receive([stream], size, deflated=True) == [*pongs, (Kind.BINARY, message)]
        assert codes_only(receive([stream], size - 1, deflated=True))[-1] == (Kind.VIOLATION, 1009)


@pytest.mark.parametrize("flush", FLUSHES.values(), ids=FLUSHES)
def test_a_bomb_in_fragments_is_refused_when_it_passes_the_limit_and_not_at_its_end(flush: int) -> None:
    body = deflated([bytes(10**6)] * 10, [flush] * 10)
    frames = in_fragments(2, cut(body, range(500, len(body), 500)), 4)
    events = codes_only(receive([frame(10).join(frames[:-1])], 600_000, deflated=True))
    assert events == [(Kind.PONG, b"")] * (len(events) - 1) + [(Kind.VIOLATION, 1009)]
    assert len(events) <= 3


def test_compressed_bytes_that_inflate_to_nothing_come_to_an_end() -> None:
    empty_blocks = b"\x00\x00\x00\xff\xff" * 1000
    assert codes_only(receive([frame(2, empty_blocks, rsv=4)], deflated=True)) == [(Kind.BINARY, b"")]
    assert codes_only(receive([frame(2, empty_blocks, rsv=4)], 1000, deflated=True)) == [(Kind.VIOLATION, 1009)]


@pytest.mark.parametrize("reads", ["whole", "byte by byte"])
def test_a_message_of_countless_final_blocks_is_refused_before_they_are_all_inflated(reads: str) -> None:
    def answer(count: int) -> list[Event]:
        stream = frame(2, b"\x03\x00" * count, rsv=4)
        return codes_only(receive([stream] if reads == "whole" else bytewise(stream), 100_000, deflated=True))

    assert answer(MAX_FINAL_BLOCKS) == [(Kind.BINARY, b"")]
    assert answer(MAX_FINAL_BLOCKS + 1) == [(Kind.VIOLATION, 1008)]
