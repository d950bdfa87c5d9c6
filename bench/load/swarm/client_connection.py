"""The network side of one locust user: HTTP requests to discovery and a WebSocket to a gateway, on blocking sockets.

Under locust, gevent makes each blocking call wait in its own greenlet, so an idle client is one greenlet that waits in
`recv`: it has no timer but that of the call, no parser and no task. Each request to discovery uses a new connection, as
in a real client. Only plain `http` and `ws` are supported: with TLS, the load generator's cost would dominate the
measurement.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlencode, urlsplit

from bench.support.clients.client_bytes import (
    CLOSE,
    CLOSE_KIND,
    PING_KIND,
    PONG_KIND,
    TEXT_KIND,
    bound,
    masked,
    split,
)
from roost.wire.codec import to_json
from roost.wire.codes import GOING_AWAY
from roost.wire.errors import DecodeError
from roost.wire.messages.client import SUBPROTOCOL, FromClient
from roost.wire.messages.registry import Choice, read_assignment

ASK_S = 5.0
OPEN_S = 10.0
"""Time limit for discovery and for a gateway, as in the Python client (`roost.client.route`)."""

BROKEN = 1006
"""The close code for a connection that ended without a close frame (RFC 6455 section 7.1.5)."""

READ_BYTES = 64 * 1024
MAX_HEAD_BYTES = 16 * 1024
_GOODBYE = masked(CLOSE_KIND, GOING_AWAY.number.to_bytes(2, "big"))


class NoGateway(Exception):
    """No connection could be made. `retry_after_s` is the Retry-After of discovery or a gateway, if there was one."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, header fields by lower-case name, and the body."""

    status: int
    fields: dict[bytes, bytes]
    rest: bytes

    @property
    def retry_after_s(self) -> float | None:
        """The seconds of Retry-After, if the answer has it."""
        text = self.fields.get(b"retry-after", b"")
        return float(text) if text.isdigit() and len(text) < 6 else None


def ask(discovery: str, source: str) -> list[Choice]:
    """Return the gateways that this replica offers a client, best first. Raises NoGateway."""
    try:
        raw = _reach(discovery, source, ASK_S)
        with raw:
            raw.sendall(_request(discovery, "/v1/gateway", "Connection: close\r\n"))
            answer = _read_answer(raw)
            body = answer.rest
            while data := raw.recv(READ_BYTES):
                body += data
    except (OSError, ValueError) as problem:
        raise NoGateway(f"ask: {_reason(problem)}") from problem
    if answer.status != 200:
        raise NoGateway(f"ask: {answer.status}", answer.retry_after_s)
    try:
        assignment = read_assignment(body)
    except DecodeError as problem:
        raise NoGateway("ask: not Roost's discovery") from problem
    return [Choice(assignment.url, assignment.ticket), *assignment.alternates]


class ClientConnection:
    """An open WebSocket to the gateway at `url`."""

    __slots__ = ("_raw", "_rest", "url")

    def __init__(self, choice: Choice, source: str) -> None:
        """Connect and do the opening handshake. Raises NoGateway."""
        self.url = choice.url
        try:
            self._raw = _reach(choice.url, source, OPEN_S)
            try:
                self._rest = self._shake(choice)
            except BaseException:
                self._raw.close()
                raise
        except (OSError, ValueError) as problem:
            raise NoGateway(f"connect: {_reason(problem)}") from problem

    def _shake(self, choice: Choice) -> bytes:
        self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ticket = "?" + urlencode({"ticket": choice.ticket}) if choice.ticket else ""
        fields = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
        )
        self._raw.sendall(_request(choice.url, "/" + ticket, fields))
        answer = _read_answer(self._raw)
        if answer.status != 101:
            raise NoGateway(f"connect: {answer.status}", answer.retry_after_s)
        return answer.rest

    def receive(self, patience_s: float) -> list[tuple[int, bytes]]:
        """Return the frames that arrived within this time, perhaps none. Raises ConnectionError when the connection has
        ended.
        """
        data, self._rest = self._rest, b""
        frames, rest = split(data)
        if not frames:
            self._raw.settimeout(max(patience_s, 0.001))
            try:
                more = self._raw.recv(READ_BYTES)
            except TimeoutError:
                more = None
            if more == b"":
                raise ConnectionError("the gateway is gone")
            frames, rest = split(rest + more) if more else ([], rest)
        self._rest = rest
        return frames

    def send(self, message: FromClient) -> None:
        """Send a message."""
        self._write(masked(TEXT_KIND, to_json(message)))

    def ping(self) -> None:
        """Send a ping."""
        self._write(masked(PING_KIND))

    def pong(self, payload: bytes) -> None:
        """Send a pong."""
        self._write(masked(PONG_KIND, payload))

    def confirm(self) -> None:
        """Reply to a close frame, and close the connection."""
        self._write(CLOSE)
        self._raw.close()

    def leave(self) -> None:
        """Send a close frame, and close the connection."""
        self._write(_GOODBYE)
        self._raw.close()

    def cut(self) -> None:
        """Simulate a network failure: the connection ends, also for a greenlet that waits for it; call `close` after
        that.
        """
        with suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close without a close frame; fine to call twice."""
        self._raw.close()

    def _write(self, data: bytes) -> None:
        """Write the bytes. A failure ends the connection, so that a later `receive` raises ConnectionError."""
        try:
            self._raw.sendall(data)
        except OSError:
            self.cut()


def open_line(discovery: Sequence[str], source: str) -> tuple[ClientConnection, int]:
    """Return a connection to the gateway that discovery names, or to an alternate, and the replica's index. Raises
    NoGateway.
    """
    problem = NoGateway("ask: nobody")
    for turn, url in enumerate(discovery):
        try:
            choices = ask(url, source)
        except NoGateway as refused:
            problem = refused
            continue
        for choice in choices:
            try:
                return ClientConnection(choice, source), turn
            except NoGateway as refused:
                problem = refused
        raise problem
    raise problem


def _request(url: str, target: str, fields: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{fields}\r\n".encode()


def _read_answer(raw: socket.socket) -> Answer:
    data = b""
    while b"\r\n\r\n" not in data:
        more = raw.recv(READ_BYTES)
        if not more:
            raise ConnectionError("ended before an answer")
        data += more
        if len(data) > MAX_HEAD_BYTES:
            raise ValueError("an endless answer")
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status = first[9:12]
    if not first.startswith(b"HTTP/1.") or not status.isdigit():
        raise ValueError("not HTTP")
    fields = (line.partition(b":") for line in lines)
    return Answer(int(status), {name.lower(): value.strip() for name, _, value in fields}, rest)


def _reach(url: str, source: str, patience_s: float) -> socket.socket:
    """Return a connection to the host and port of `url` with this timeout per call; an empty source is any address."""
    raw = bound(source) if source else socket.socket()
    try:
        raw.settimeout(patience_s)
        raw.connect(where(url))
    except BaseException:
        raw.close()
        raise
    return raw


@lru_cache(maxsize=1024)
def where(url: str) -> tuple[str, int]:
    """Return address and port of a URL. Raises ValueError for an unsupported URL, OSError for an unknown name.

    A name is resolved once for all clients of the process.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "ws") or not parts.hostname:
        raise ValueError(f"write http://HOST:PORT or ws://HOST:PORT, not {url!r}")
    return socket.gethostbyname(parts.hostname), parts.port or 80


def _reason(problem: Exception) -> str:
    """Return a short description from a small set, because failures are counted by it."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror.lower()
    return str(problem) or type(problem).__name__
