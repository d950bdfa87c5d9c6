"""A load client's way to a gateway, against answers of every kind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from bench.load.swarm.client_connection import ClientConnection, NoGateway, ask, open_line, where
from bench.support.clients.client_bytes import PING_KIND, TEXT_KIND, split
from roost.gateway.websocket.frames import encode, ping_bytes
from roost.wire.messages.registry import Choice

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
ASSIGNED = (
    b'{"url":"ws://127.0.0.1:1","ticket":"t","expires_s":30,"alternates":[{"url":"ws://127.0.0.1:2","ticket":"u"}]}'
)


@contextmanager
def server(*answers: bytes, stays: bool = False) -> Iterator[str]:
    """Where each connection gets the next of these answers, piece by piece, and ends: if it stays, after the client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                raw, _ = listener.accept()
                with raw, suppress(OSError):
                    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    raw.recv(65536)
                    for at in range(0, len(answer), 7):
                        raw.sendall(answer[at : at + 7])
                    while stays and raw.recv(65536):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def http(status: str, body: bytes, fields: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


def test_frames_are_told_apart_however_they_are_cut() -> None:
    sent = [(TEXT_KIND, b"short"), (PING_KIND, b""), (TEXT_KIND, b"x" * 300), (TEXT_KIND, b"y" * 70_000)]
    data = encode("short") + ping_bytes() + encode("x" * 300) + encode("y" * 70_000)
    for size in (1, 2, 3, 5, 1000, len(data)):
        found: list[tuple[int, bytes]] = []
        rest = b""
        for at in range(0, len(data), size):
            frames, rest = split(rest + data[at : at + size])
            found += frames
        assert (found, rest) == (sent, b"")


def test_discovery_is_asked_and_names_a_gateway_and_alternates() -> None:
    with server(http("200 OK", ASSIGNED)) as place:
        assert ask(f"http://{place}", "127.1.2.3") == [Choice("ws://127.0.0.1:1", "t"), Choice("ws://127.0.0.1:2", "u")]


@pytest.mark.parametrize(
    ("answer", "reason", "retry_after_s"),
    [
        (http("503 Service Unavailable", b"{}", "Retry-After: 7\r\n"), "ask: 503", 7.0),
        (http("503 Service Unavailable", b"{}", "retry-after: soon\r\n"), "ask: 503", None),
        (http("200 OK", b"<html>"), "ask: not Roost's discovery", None),
        (b"", "ask: ended before an answer", None),
        (b"HTTP/1.1\r\n\r\n", "ask: not HTTP", None),
        (b"x" * 20_000, "ask: an endless answer", None),
    ],
)
def test_a_discovery_that_does_not_help_is_said_to(answer: bytes, reason: str, retry_after_s: float | None) -> None:
    with server(answer) as place, pytest.raises(NoGateway) as refused:
        ask(f"http://{place}", "")
    assert (refused.value.reason, refused.value.retry_after_s) == (reason, retry_after_s)


def test_the_next_replica_is_asked_when_one_does_not_answer_and_the_alternate_when_a_gateway_refuses() -> None:
    full = http("503 Service Unavailable", b"", "Retry-After: 5\r\n")
    with server(full, SWITCHED + encode("early")) as gateway:
        found = f'{{"url":"ws://{gateway}","ticket":"t","expires_s":30,"alternates":[{{"url":"ws://{gateway}","ticket":"u"}}]}}'
        with server(http("200 OK", found.encode())) as discovery:
            line, turn = open_line(["http://127.0.0.1:9", f"http://{discovery}"], "127.1.2.3")
        frames: list[tuple[int, bytes]] = []
        while not frames:
            frames = line.receive(5.0)
        assert (turn, frames) == (1, [(TEXT_KIND, b"early")])
        with pytest.raises(ConnectionError):
            line.receive(5.0)
        line.close()


def test_a_gateway_that_is_full_says_when_to_come_back() -> None:
    full = http("503 Service Unavailable", b"", "Retry-After: 5\r\n")
    with server(full) as place, pytest.raises(NoGateway) as refused:
        ClientConnection(Choice(f"ws://{place}", ""), "")
    assert (refused.value.reason, refused.value.retry_after_s) == ("connect: 503", 5.0)


def test_what_is_cut_has_ended_and_takes_no_more_words() -> None:
    with server(SWITCHED, stays=True) as place:
        line = ClientConnection(Choice(f"ws://{place}", "t"), "")
        assert line.receive(0.0) == []
        line.cut()
        line.ping()
        with pytest.raises(ConnectionError):
            line.receive(5.0)
        line.leave()


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:1", "http://"])
def test_a_url_that_cannot_be_spoken_to_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(ValueError, match="write http://HOST:PORT"):
        where(url)
