from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from roost.gateway.websocket import frames
from roost.gateway.websocket.frames import Event, Kind, Parser, is_empty_pong, plain, single
from roost.wire.codes import Close
from tests.gateway.websocket.bytes_of import MASK, close, frame, odd_frames, split_streams, text, whole_messages

MAX_BYTES, MAX_FRAGMENTS = 10_000, 100


def receive(
    pieces: Iterable[bytes], max_bytes: int = MAX_BYTES, max_fragments: int = MAX_FRAGMENTS, *, deflated: bool = False
) -> list[Event]:
    """Return the events for bytes in these pieces: `plain` first, and a Parser while it is needed."""
    events: list[Event] = []
    parser: Parser | None = None
    for piece in pieces:
        rest = piece
        if parser is None:
            taken, used = plain(piece, max_bytes, deflated=deflated)
            events += taken
            if events and events[-1][0] == Kind.CLOSE:
                return events
            rest = piece[used:]
            if not rest:
                continue
            parser = Parser(max_bytes, max_fragments, deflated=deflated)
        events += parser.feed(rest)
        if parser.at_rest:
            parser = None
    return events


def wsproto_alone(pieces: Iterable[bytes]) -> list[Event]:
    """Return the events that wsproto alone gives."""
    connection = Connection(ConnectionType.SERVER)
    events: list[Event] = []
    message: list[str | bytes | bytearray] = []
    for piece in pieces:
        connection.receive_data(piece)
        for event in connection.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                message.append(event.data)
                if event.message_finished:
                    whole = "".join(message) if isinstance(event, TextMessage) else b"".join(message)  # type: ignore[arg-type]
                    events.append((Kind.TEXT if isinstance(event, TextMessage) else Kind.BINARY, whole))
                    message = []
            elif isinstance(event, (Ping, Pong)):
                events.append((Kind.PING if isinstance(event, Ping) else Kind.PONG, bytes(event.payload)))
            elif isinstance(event, CloseConnection):
                is_fault = connection.state is ConnectionState.OPEN
                events.append((Kind.VIOLATION, event.code) if is_fault else (Kind.CLOSE, (event.code, event.reason)))
                return events
    return events


def codes_only(events: list[Event]) -> list[Event]:
    """Replace the text of violations by their code, and treat no reason like an empty one."""
    out = []
    for kind, payload in events:
        if kind == Kind.VIOLATION:
            payload = payload.number
        elif kind == Kind.CLOSE:
            payload = (payload[0], payload[1] or "")
        out.append((kind, payload))
    return out


@given(split_streams())
def test_every_split_of_the_bytes_gives_the_same_messages_or_the_same_refusal(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    assert receive(pieces) == receive([stream])


@given(split_streams())
def test_the_byte_path_and_wsproto_accept_and_refuse_the_same(case: tuple[bytes, list[bytes]]) -> None:
    _, pieces = case
    assert codes_only(receive(pieces)) == [
        (kind, (payload[0], payload[1] or "") if kind == Kind.CLOSE else payload)
        for kind, payload in wsproto_alone(pieces)
    ]


@given(split_streams(), st.integers(0, 200), st.integers(1, 4))
def test_limits_do_not_depend_on_the_split(case: tuple[bytes, list[bytes]], max_bytes: int, max_fragments: int) -> None:
    stream, pieces = case
    assert receive(pieces, max_bytes, max_fragments) == receive([stream], max_bytes, max_fragments)


@given(st.one_of(whole_messages, odd_frames, st.binary(max_size=140)), st.integers(-1, 300))
def test_what_the_shortest_path_takes_the_byte_path_takes_too(data: bytes, limit: int) -> None:
    message = single(data, limit)
    if message is not None:
        kind = Kind.TEXT if isinstance(message, str) else Kind.BINARY
        assert plain(data, limit) == ([(kind, message)], len(data))


@given(st.one_of(whole_messages, odd_frames, st.binary(max_size=8)))
def test_what_passes_for_an_empty_pong_is_one(data: bytes) -> None:
    if is_empty_pong(data):
        assert plain(data, 125) == ([(Kind.PONG, b"")], len(data))


def test_an_empty_pong_passes_for_one() -> None:
    assert is_empty_pong(frame(10, b""))
    assert not is_empty_pong(frame(10, b"x"))
    assert not is_empty_pong(frame(10, b"") * 2)


def test_a_small_frame_takes_the_shortest_path() -> None:
    assert single(text("hé"), 3) == "hé"
    assert single(text("hé"), 2) is None
    assert single(text(""), 0) == ""
    assert single(text("a") + text("b"), 100) is None
    for size in (125, 126, 127, 1000, 0xFFFF):
        assert single(frame(2, bytes(size)), size) == bytes(size)
        assert single(text("x" * size), size) == "x" * size
        assert single(frame(2, bytes(size)), size - 1) is None
    assert single(frame(2, bytes(0x10000)), 0x10000) is None


@given(st.one_of(st.text(), st.binary()))
def test_a_client_reads_what_is_encoded(message: str | bytes) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frames.encode(message))
    (event,) = client.events()
    assert isinstance(event, (TextMessage, BytesMessage))
    assert event.data == message
    assert event.message_finished


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_every_length_form_goes_both_ways(size: int) -> None:
    payload = bytes(size)
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frames.encode(payload))
    assert b"".join(event.data for event in client.events() if isinstance(event, BytesMessage)) == payload
    assert receive([frame(2, payload)], max_bytes=size or 1) == [(Kind.BINARY, payload)]


def test_too_big_is_said_as_soon_as_the_header_says_so() -> None:
    parser = Parser(1000, 10)
    header = bytes((0x82, 0xFF)) + (1 << 40).to_bytes(8, "big") + MASK
    assert list(parser.feed(header[:-1])) == []
    ((kind, answer),) = parser.feed(header[-1:])
    assert kind == Kind.VIOLATION
    assert answer.number == 1009


def test_fragments_together_are_held_to_the_limit_of_a_message() -> None:
    parts = [frame(1, b"x" * 60, fin=False), frame(0, b"x" * 60)]
    assert codes_only(receive(parts, max_bytes=119)) == [(Kind.VIOLATION, 1009)]
    assert receive(parts, max_bytes=120) == [(Kind.TEXT, "x" * 120)]


def test_endless_fragments_are_refused() -> None:
    parts = [frame(1, b"", fin=False)] + [frame(0, b"", fin=False)] * 10
    assert codes_only(receive(parts, max_fragments=10)) == [(Kind.VIOLATION, 1008)]


def test_a_finished_message_starts_the_counts_anew() -> None:
    message = [frame(1, b"a" * 50, fin=False), frame(0, b"b" * 50)]
    assert receive(message * 5, max_bytes=100, max_fragments=2) == [(Kind.TEXT, "a" * 50 + "b" * 50)] * 5


def test_nothing_comes_out_after_a_close_frame() -> None:
    assert receive([close(1000, "bye") + text("late"), text("later")]) == [(Kind.CLOSE, (1000, "bye"))]


def test_nothing_comes_out_after_a_violation() -> None:
    events = receive([text("ok") + frame(3) + text("late"), text("later")])
    assert codes_only(events) == [(Kind.TEXT, "ok"), (Kind.VIOLATION, 1002)]


def test_bad_text_is_refused_with_its_own_code() -> None:
    assert codes_only(receive([frame(1, b"\xff")])) == [(Kind.VIOLATION, 1007)]


def test_a_parser_is_at_rest_only_between_messages() -> None:
    parser = Parser(1000, 10)
    stream = frame(1, b"ab", fin=False) + frame(9, b"ping") + frame(0, b"cd")
    rests = []
    for index in range(len(stream)):
        list(parser.feed(stream[index : index + 1]))
        rests.append(parser.at_rest)
    assert rests == [False] * (len(stream) - 1) + [True]


def test_ordinary_traffic_needs_no_parser() -> None:
    stream = text("hi") + frame(2, bytes(300)) + frame(9, b"x") + frame(10, b"")
    events, used = plain(stream, MAX_BYTES)
    assert used == len(stream)
    assert events == [(Kind.TEXT, "hi"), (Kind.BINARY, bytes(300)), (Kind.PING, b"x"), (Kind.PONG, b"")]


@given(st.binary(max_size=400), st.binary(min_size=4, max_size=4))
def test_unmasking_twice_gives_the_payload_back(payload: bytes, key: bytes) -> None:
    masked = frames.unmask(payload, key)
    assert masked == bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    assert frames.unmask(masked, key) == payload


@given(st.integers(1000, 4999), st.text(max_size=300))
def test_close_frames_are_never_longer_than_a_control_frame_may_be(code: int, reason: str) -> None:
    data = frames.close_bytes(code, reason)
    assert len(data) <= 2 + frames.MAX_CONTROL_BYTES
    assert reason.encode(errors="replace").startswith(data[4:])
    data[4:].decode()


def test_no_code_makes_an_empty_close_frame() -> None:
    assert frames.close_bytes(1005) == b"\x88\x00"


def test_a_violation_names_what_was_wrong() -> None:
    ((_, answer),) = receive([frame(1, b"", mask=None)])
    assert isinstance(answer, Close)
    assert "unmasked" in answer.reason
