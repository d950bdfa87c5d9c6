"""The opening handshake (RFC 6455 section 4.2): parses the request, and makes the answer or the refusal. Pure.

`read_plain` parses the ordinary request of a browser or a library in a few µs. It is strict and returns None for
anything unusual: repeated headers, a body, unusual characters. wsproto then parses the request, in 80 µs. A property
test checks that both agree. This module also finds the end of the request, because wsproto loses the bytes that follow
it, and composes the answers, because wsproto would keep 5.7 KB for the life of the connection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

from wsproto.connection import ConnectionType
from wsproto.events import RejectConnection
from wsproto.events import Request as UpgradeRequest
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from roost.gateway.api import Refusal, Request
from roost.gateway.compiled import is_compiled

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEALTH = re.compile(rb"GET /health(?:\?[!-~]*)? HTTP/1\.[01]\r?\n")
_VERSION = re.compile(rb"[^\n]* HTTP/1\.1\r?\n")
_ONCE = frozenset((b"host", b"sec-websocket-key", b"sec-websocket-version", b"origin"))


class Opening(NamedTuple):
    """A valid upgrade request. `fields` are its header fields, with names in lower case."""

    target: str
    key: bytes
    subprotocols: tuple[str, ...]
    extensions: tuple[str, ...]
    fields: Mapping[bytes, bytes]

    def request(self, address: str, subject: str = "") -> Request:
        """Return the request in the form that applications get."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.fields.items()}
        return Request(self.target, headers, self.subprotocols, address, subject)


def head_end(data: bytes, start: int = 0) -> int:
    """Return the index after the empty line that ends the request head, searched from `start`; -1 when incomplete."""
    mixed = data.find(b"\n\r\n", start)
    bare = data.find(b"\n\n", start, mixed + 1 if mixed >= 0 else len(data))
    if bare >= 0:
        return bare + 2
    return mixed + 3 if mixed >= 0 else -1


def is_health_check(head: bytes) -> bool:
    """Whether this is ``GET /health`` of a load balancer or an orchestrator rather than an upgrade."""
    return _HEALTH.match(head) is not None and b"websocket" not in head.lower()


def read_opening(head: bytes) -> Opening | Refusal:
    """Parse a whole request head, including the empty line."""
    return read_plain(head) or judge(head)


Head = tuple[str, bytes, dict[bytes, bytes]]
"""Target, Sec-WebSocket-Key, and all header fields with names in lower case."""

_PLAIN = re.compile(rb"GET (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n").fullmatch
_PLAIN_HOST = re.compile(rb"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]+)?").fullmatch
_PLAIN_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==").fullmatch
_BODY = frozenset((b"content-length", b"transfer-encoding"))


def read_plain(head: bytes) -> Opening | None:
    """Parse an ordinary valid request; None when `judge` must decide."""
    found = read_head(head)
    if found is None:
        return None
    target, key, fields = found
    return Opening(
        target=target,
        key=key,
        subprotocols=_listed(fields.get(b"sec-websocket-protocol")),
        extensions=_listed(fields.get(b"sec-websocket-extensions")),
        fields=fields,
    )


def read_head_in_python(head: bytes) -> Head | None:
    """Parse the parts of an ordinary valid request that matter; None when `judge` must decide."""
    found = _PLAIN(head)
    if found is None:
        return None
    lines = found[2][:-2].split(b"\r\n")
    fields = {name.lower(): value for name, value in [line.split(b": ", 1) for line in lines]}
    if len(fields) != len(lines) or not _BODY.isdisjoint(fields):
        return None
    try:
        host, key, connection = fields[b"host"], fields[b"sec-websocket-key"], fields[b"connection"].lower()
        is_upgrade = fields[b"upgrade"].lower() == b"websocket" and fields[b"sec-websocket-version"] == b"13"
    except KeyError:
        return None
    if connection != b"upgrade" and b"upgrade" not in [token.strip() for token in connection.split(b",")]:
        return None
    if not is_upgrade or len(host) > 63 or b"xn--" in host.lower() or not _PLAIN_HOST(host) or not _PLAIN_KEY(key):
        return None
    return found[1].decode("ascii"), key, fields


read_head: Callable[[bytes], Head | None] = read_head_in_python
if is_compiled:
    from roost.gateway.websocket import _head

    read_head = _head.read_head


def _listed(value: bytes | None) -> tuple[str, ...]:
    return tuple([item.strip() for item in value.decode("ascii").split(",")]) if value is not None else ()


def judge(head: bytes) -> Opening | Refusal:
    """Parse a whole request head with wsproto."""
    handshake = H11Handshake(ConnectionType.SERVER)
    try:
        handshake.receive_data(head)
        events = list(handshake.events())
    except RemoteProtocolError as problem:
        return _refusal(problem, head)
    except UnicodeError:
        return Refusal(400, "the request has characters that HTTP does not allow there")
    if len(events) != 1 or not isinstance(events[0], UpgradeRequest):
        return Refusal(400, "not an upgrade request")
    if not _VERSION.match(head):
        return Refusal(505, "an upgrade needs HTTP/1.1")
    return _opening(events[0])


def _opening(request: UpgradeRequest) -> Opening | Refusal:
    pairs = [(bytes(name), bytes(value)) for name, value in request.extra_headers]
    names = [name for name, _ in pairs if name in _ONCE]
    if len(names) != len(set(names)):
        return Refusal(400, "a header that must come once came twice")
    fields = {b"host": request.host.encode()}  # decoded by wsproto; not every result can be encoded again
    for name, value in pairs:
        fields[name] = fields[name] + b", " + value if name in fields else value
    key = fields[b"sec-websocket-key"]
    if not _is_key(key):
        return Refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    if request.subprotocols:
        fields[b"sec-websocket-protocol"] = ", ".join(request.subprotocols).encode("ascii")
    if request.extensions:
        fields[b"sec-websocket-extensions"] = ", ".join(map(str, request.extensions)).encode("ascii")
    return Opening(
        target=request.target,
        key=key,
        subprotocols=tuple(request.subprotocols),
        extensions=tuple(str(item) for item in request.extensions),
        fields=fields,
    )


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _refusal(problem: RemoteProtocolError, head: bytes) -> Refusal:
    hint = problem.event_hint
    headers: tuple[tuple[str, str], ...] = ()
    status = 400
    if isinstance(hint, RejectConnection):
        status = hint.status_code
        headers = tuple((name.decode(), value.decode()) for name, value in hint.headers)
    if str(problem) == "Bad HTTP message":
        return Refusal(400, "not HTTP/1.1")
    if re.search(rb"\nupgrade:[ \t]*websocket", head, re.IGNORECASE) is None:
        needed = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"))
        return Refusal(426, "this address speaks WebSocket only", headers=needed)
    if status == 400 and "Version" in str(problem):
        headers = (("Sec-WebSocket-Version", "13"),)
    return Refusal(status if status >= 400 else 400, str(problem), headers=headers)


def choose_subprotocol(preferred: Sequence[str], offered: Sequence[str]) -> str | None:
    """Return the first of `preferred` that the client offers, or None."""
    if not offered:
        return None
    return next((name for name in preferred if name in offered), None)


_ACCEPT = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


def accept_bytes(key: bytes, subprotocol: str | None, extension: str | None = None) -> bytes:
    """Return the 101 response for a Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    token = binascii.b2a_base64(hashlib.sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)
    protocol = f"\r\nSec-WebSocket-Protocol: {subprotocol}".encode("ascii") if subprotocol is not None else b""
    agreed = f"\r\nSec-WebSocket-Extensions: {extension}".encode("ascii") if extension is not None else b""
    return _ACCEPT + token + protocol + agreed + b"\r\n\r\n"


def refusal_bytes(refusal: Refusal) -> bytes:
    """Return the HTTP response for a refusal, with Connection: close."""
    body = f"{refusal.reason}\n".encode()
    head = [f"HTTP/1.1 {refusal.status} {_phrase(refusal.status)}"]
    head += [f"{name}: {value}" for name, value in refusal.headers]
    if refusal.retry_after_s is not None:
        head.append(f"Retry-After: {refusal.retry_after_s}")
    head += ["Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


HEALTH_ANSWER = refusal_bytes(Refusal(200, "ok"))
