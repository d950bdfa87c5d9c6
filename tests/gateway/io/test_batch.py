"""Batched reads and writes in Python and in C: both behave alike and refuse the same input."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.gateway.connections.slots import CLOSED, OPEN, STATES
from roost.gateway.io import _batch
from roost.gateway.io.batch import (
    MAX_READ_BYTES,
    Found,
    ReadMessages,
    WriteFrames,
    read_messages_by,
    write_frames_by,
)
from roost.gateway.io.poller import READ, WRITE
from roost.gateway.websocket.frames import Parser, is_empty_pong, single
from tests.gateway.websocket.bytes_of import close, frame, text

NOW = 7
READERS: dict[str, ReadMessages] = {"python": partial(read_messages_by, os.read), "compiled": _batch.read_messages}
WRITERS: dict[str, WriteFrames] = {"python": partial(write_frames_by, os.write), "compiled": _batch.write_frames}


class Crowd:
    """Socket pairs, and the cells of the gateway's ends."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        pairs = [socket.socketpair() for _ in range(count)]
        for pair in pairs:
            for end in pair:
                end.setblocking(False)
                stack.callback(end.close)
        self.ours, self.theirs = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
        self.fds = [ours.fileno() for ours in self.ours]
        cells = max(self.fds) + 1
        self.state, self.last_read, self.last_message = [OPEN] * cells, [1] * cells, [1] * cells
        self.parsers: dict[int, Parser] = {}

    def hear(self, read: ReadMessages, size: int = MAX_READ_BYTES, limit: int = 2000, events: int = READ) -> Found:
        ready = [(fd, events) for fd in self.fds]
        return read(ready, size, limit, (self.state, self.last_read, self.last_message), self.parsers, NOW)

    def ticks(self) -> list[tuple[int, int]]:
        return [(self.last_read[fd], self.last_message[fd]) for fd in self.fds]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as built:
        yield built


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> ReadMessages:
    return READERS[request.param]


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest) -> WriteFrames:
    return WRITERS[request.param]


def heard_of(stack: ExitStack, read: ReadMessages, data: bytes, limit: int = 2000) -> tuple[Any, tuple[int, int]]:
    """Return what one connection's bytes are read as, a message or something else, and its ticks."""
    crowd = Crowd(stack, 1)
    crowd.theirs[0].send(data)
    messages, others, byte_count = crowd.hear(read, limit=limit)
    found = messages or others
    assert byte_count == (0 if others else len(data))
    assert [fd for fd, _ in found] == crowd.fds[: len(found)]
    return (found[0][1] if found else None), crowd.ticks()[0]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 124, 125, 126, 127, 255, 256, 2000])
def test_a_whole_message_comes_out_unmasked(stack: ExitStack, read: ReadMessages, size: int) -> None:
    payload = os.urandom(size)
    assert heard_of(stack, read, frame(2, payload)) == (payload, (NOW, NOW))
    words = ("é" * size)[: size // 2] + "x" * (size % 2)
    assert heard_of(stack, read, text(words)) == (words, (NOW, NOW))


def test_an_empty_pong_is_heard_and_asks_for_nothing(stack: ExitStack, read: ReadMessages) -> None:
    assert heard_of(stack, read, frame(10, b"")) == (None, (NOW, 1))


@pytest.mark.parametrize(
    "data",
    [
        frame(10, b"x"),
        frame(9, b""),
        frame(2, bytes(2001)),
        b"\x82\xfe\x00\x7d" + bytes(4 + 125),
        b"\x82\xfe\x00\x80" + bytes(4 + 127),
        b"\x81\xff" + (126).to_bytes(8, "big") + bytes(4 + 126),
        b"\x82\x7e\x00\x80" + bytes(128 + 4),
        frame(1, b"\xff" * 130),
        frame(2, b"abc", fin=False),
        frame(2, b"abc", rsv=4),
        frame(1, b"\xff"),
        frame(1, b"\xed\xa0\x80"),
        frame(2, b"abc")[:-1],
        frame(2, b"abc") + b"\x82",
        b"\x82\x03abcdefg",
        b"\x82",
        close(1000, "bye"),
        frame(2, b"abc") * 40,
        frame(2, bytes(5000)),
    ],
)
def test_anything_else_comes_out_as_it_is(stack: ExitStack, read: ReadMessages, data: bytes) -> None:
    assert heard_of(stack, read, data) == (data[:MAX_READ_BYTES], (1, 1))


def test_a_message_over_the_limit_comes_out_as_it_is(stack: ExitStack, read: ReadMessages) -> None:
    assert heard_of(stack, read, frame(2, b"12345"), limit=5)[0] == b"12345"
    assert heard_of(stack, read, frame(2, b"123456"), limit=5)[0] == frame(2, b"123456")
    assert heard_of(stack, read, frame(2, b"1"), limit=-1)[0] == frame(2, b"1")


def test_nothing_to_read_an_end_and_a_reset(stack: ExitStack, read: ReadMessages) -> None:
    crowd = Crowd(stack, 2)
    crowd.theirs[1].close()
    assert crowd.hear(read) == ([], [(crowd.fds[1], b"")], 0)
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    client = socket.create_connection(listening.getsockname())
    crowd.ours[0].close()
    crowd.ours[0] = stack.enter_context(listening.accept()[0])
    crowd.ours[0].setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    crowd.fds = [crowd.ours[0].fileno()]
    assert crowd.hear(read) == ([], [(crowd.fds[0], b"")], 0)


def test_who_is_not_open_or_in_the_middle_of_a_message_or_unusually_ready_is_not_read(
    stack: ExitStack, read: ReadMessages
) -> None:
    crowd = Crowd(stack, len(STATES) + 2)
    for theirs in crowd.theirs:
        theirs.send(text("hello"))
    for fd, state in zip(crowd.fds, STATES, strict=False):
        crowd.state[fd] = state
    crowd.parsers[crowd.fds[-1]] = Parser(1000, 8)
    messages, others, _ = crowd.hear(read)
    assert messages == [(fd, "hello") for fd in crowd.fds[:-1] if crowd.state[fd] == OPEN]
    assert others == [(fd, READ) for fd in crowd.fds if crowd.state[fd] != OPEN or fd in crowd.parsers]
    assert all(ours.recv(100) for ours in crowd.ours if crowd.state[ours.fileno()] == CLOSED), "still there to be read"
    assert crowd.hear(read, events=READ | WRITE)[1] == [(fd, READ | WRITE) for fd in crowd.fds]


def test_a_descriptor_without_a_cell_is_not_read(stack: ExitStack, read: ReadMessages) -> None:
    crowd = Crowd(stack, 1)
    cells = crowd.state, crowd.last_read, crowd.last_message
    assert read([(-1, READ)], MAX_READ_BYTES, 2000, cells, {}, NOW) == ([], [(-1, READ)], 0)
    for some in cells:
        del some[crowd.fds[0] :]
    assert crowd.hear(read) == ([], [(crowd.fds[0], READ)], 0)


parts = st.one_of(
    st.binary(max_size=140),
    st.builds(frame, st.sampled_from((1, 2, 9, 10)), st.binary(max_size=300)),
    st.builds(lambda size: frame(2, bytes(size)), st.integers(120, 5000)),
    st.builds(text, st.text(max_size=60)),
)


@given(st.lists(st.lists(parts, max_size=3).map(b"".join), min_size=1, max_size=5), st.integers(-1, 5000))
def test_compiled_and_python_find_the_same(inputs: Sequence[bytes], limit: int) -> None:
    results = []
    for read in READERS.values():
        with ExitStack() as stack:
            crowd = Crowd(stack, len(inputs))
            for theirs, data in zip(crowd.theirs, inputs, strict=True):
                theirs.send(data)
            messages, others, byte_count = crowd.hear(read, limit=limit)
            at = {fd: number for number, fd in enumerate(crowd.fds)}
            results.append(
                ([(at[fd], m) for fd, m in messages], [(at[fd], o) for fd, o in others], byte_count, crowd.ticks())
            )
    assert results[0] == results[1]
    for number, message in results[1][0]:
        assert message == single(inputs[number], limit)
        assert type(message) is type(single(inputs[number], limit))
    for _, what in results[1][1]:
        assert isinstance(what, bytes)
        assert not is_empty_pong(what)
        assert single(what, limit) is None


def test_python_a_bug_in_a_transport_ends_one_connection(stack: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    crowd = Crowd(stack, 3)
    for theirs in crowd.theirs:
        theirs.send(text("hello"))

    def read(fd: int, size: int) -> bytes:
        if fd == crowd.fds[1]:
            raise RuntimeError("a bug of ours")
        return os.read(fd, size)

    messages, others, _ = crowd.hear(partial(read_messages_by, read))
    assert messages == [(crowd.fds[0], "hello"), (crowd.fds[2], "hello")]
    assert others == [(crowd.fds[1], b"")]
    assert [record.getMessage() for record in caplog.records] == ["internal error while reading"]


def test_frames_are_written_whole_and_what_does_not_fit_comes_back(stack: ExitStack, write: WriteFrames) -> None:
    crowd = Crowd(stack, 3)
    large = os.urandom(1 << 20)
    crowd.theirs[2].close()
    frames = dict(zip(crowd.fds, (b"small", large, b"to nobody"), strict=True))
    total, unsent = write(frames.items())
    assert crowd.theirs[0].recv(100) == b"small"
    (large_fd, data, sent), nobody = unsent
    assert (large_fd, data) == (crowd.fds[1], large)
    assert 0 < sent < len(large)
    assert crowd.theirs[1].recv(sent) == large[:sent]
    assert nobody == (crowd.fds[2], b"to nobody", 0)
    assert total == 5 + sent
    crowd.theirs[0].close()
    assert write([(crowd.fds[0], b"more")]) == (0, [(crowd.fds[0], b"more", 0)])
    assert write([]) == (0, [])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: _batch.read_messages([(1, 1)], 448, 125, ([2], [0], [0]), {}),  # type: ignore[call-arg]
        lambda: _batch.read_messages(((1, 1),), 448, 125, ([2], [0], [0]), {}, 1),  # type: ignore[arg-type]
        lambda: _batch.read_messages([1], 448, 125, ([2], [0], [0]), {}, 1),  # type: ignore[list-item]
        lambda: _batch.read_messages([(1,)], 448, 125, ([2], [0], [0]), {}, 1),  # type: ignore[list-item]
        lambda: _batch.read_messages([("1", 1)], 448, 125, ([2], [0], [0]), {}, 1),  # type: ignore[list-item]
        lambda: _batch.read_messages([(1, 1)], 448, 125, ((2,), [0], [0]), {}, 1),  # type: ignore[arg-type]
        lambda: _batch.read_messages([(0, 1)], 448, 125, (["2"], [0], [0]), {}, 1),  # type: ignore[list-item]
        lambda: _batch.read_messages([], 448, 125, ([2], [0], [0]), [], 1),  # type: ignore[arg-type]
        lambda: _batch.write_frames(1),  # type: ignore[arg-type]
        lambda: _batch.write_frames([1]),  # type: ignore[list-item]
        lambda: _batch.write_frames([(1, "text")]),  # type: ignore[list-item]
        lambda: _batch.write_frames([("1", b"")]),  # type: ignore[list-item]
        lambda: _batch.write_frames([(1 << 32, b"")]),
        lambda: _batch.write_frames([(-1, b"")]),
        lambda: _batch.write_frames(1 / 0 for _ in "1"),  # type: ignore[misc]
    ],
)
def test_compiled_wrong_arguments_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ZeroDivisionError, OverflowError)):
        wrong()


@pytest.mark.parametrize("size", [0, -1, MAX_READ_BYTES + 1])
def test_compiled_sizes_beyond_its_buffers_are_refused(stack: ExitStack, size: int) -> None:
    with pytest.raises(ValueError, match="size is 1 to"):
        Crowd(stack, 1).hear(_batch.read_messages, size=size)


def test_compiled_nothing_is_kept(stack: ExitStack) -> None:
    crowd = Crowd(stack, 8)
    now = int("1000000")
    ready = [(fd, int(str(READ))) for fd in crowd.fds]
    crowd.state[crowd.fds[7]] = CLOSED

    def turn() -> None:
        for theirs, data in zip(crowd.theirs, (text("hello"), frame(2, b"x" * 99), frame(10, b""), b"?"), strict=False):
            theirs.send(data)
        cells = crowd.state, crowd.last_read, crowd.last_message
        messages, others, _ = _batch.read_messages(ready, 448, 125, cells, {}, now)
        assert (len(messages), len(others)) == (2, 2)
        assert _batch.write_frames([(fd, b"answer") for fd in crowd.fds]) == (6 * 8, [])
        for theirs in crowd.theirs:
            theirs.recv(100)

    def count() -> list[int]:
        shared = [now, ready, *ready, *(number for pair in ready for number in pair)]
        return [sys.getallocatedblocks(), *map(sys.getrefcount, shared)]

    turn()
    before = count()
    for _ in range(500):
        turn()
    assert all(abs(after - earlier) < 50 for after, earlier in zip(count(), before, strict=True))


@pytest.mark.parametrize(("value", "is_compiled"), [("", True), ("1", False)])
def test_the_gateway_uses_the_compiled_ones_unless_told_not_to(value: str, is_compiled: bool) -> None:
    code = (
        "from roost.gateway.io.transport import Plain, batch; print(Plain.read_messages is batch._batch.read_messages)"
    )
    environment = {**os.environ, "ROOST_NO_EXTENSIONS": value}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (said.stdout.strip() == "True") == is_compiled
    assert is_compiled or "has no attribute '_batch'" in said.stderr
