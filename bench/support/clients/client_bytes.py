"""The bytes that load clients send, their source addresses, and how they read frames."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
JOB_REQUEST = REQUEST[:-2] + b"Sec-WebSocket-Protocol: roost.v1\r\n\r\n"
TEXT_KIND, BINARY_KIND, CLOSE_KIND, PING_KIND, PONG_KIND = 0x81, 0x82, 0x88, 0x89, 0x8A
"""First bytes of whole frames."""


def masked(kind: int, payload: bytes = b"") -> bytes:
    """A frame of a client (RFC 6455 section 5.2) with this first byte; its key is 0, so the payload stays readable."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((kind,)) + length + bytes(4) + payload


HELLO = masked(TEXT_KIND, b'{"type":"hello","epoch":1}')
PONG = masked(PONG_KIND)
CLOSE = masked(CLOSE_KIND, (1000).to_bytes(2, "big"))


def address(index: int) -> str:
    """The loopback address of the client with this number: 16 million different ones."""
    return f"127.{1 + (index >> 16) % 254}.{index >> 8 & 255}.{index & 255}"


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """First byte and payload of each frame of a server (unmasked, under 64 KiB) in `data`."""
    at = 0
    while at + 2 <= len(data):
        kind, length = data[at], data[at + 1]
        at += 2
        if length == 126:
            length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        yield kind, data[at : at + length]
        at += length


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """First byte and payload of each whole frame of a server at the head of `data`, and what is left of it."""
    found = []
    at = 0
    while at + 2 <= len(data):
        length, start = data[at + 1], at + 2
        if length >= 126:
            width = 2 if length == 126 else 8
            length, start = int.from_bytes(data[start : start + width], "big"), start + width
        if start + length > len(data):
            break
        found.append((data[at], data[start : start + length]))
        at = start + length
    return found, data[at:]


def bound(source: str) -> socket.socket:
    """A socket that will connect from this address of the machine.

    It is bound late (IP_BIND_ADDRESS_NO_PORT), so that a port is only taken with regard to where the connection goes.
    Raises OSError for an address that is not this machine's.
    """
    raw = socket.socket()
    try:
        raw.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        raw.bind((source, 0))
    except OSError:
        raw.close()
        raise
    return raw


def call(port: int, source: str) -> socket.socket:
    """A non-blocking socket that is connecting to this port of 127.0.0.1 from an address.

    Raises ConnectionError when nobody listens.
    """
    raw = bound(source)
    raw.setblocking(False)
    if raw.connect_ex(("127.0.0.1", port)) not in (0, errno.EINPROGRESS):
        raw.close()
        raise ConnectionError("the server does not listen")
    return raw


def upgraded(port: int, source: str, patience_s: float = 5.0) -> socket.socket:
    """A blocking socket with an open WebSocket connection from this address. Raises OSError when it is refused."""
    raw = call(port, source)
    raw.settimeout(patience_s)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a message right after a pong waits 40 ms for its ACK
    try:
        raw.sendall(REQUEST)
        head = b""
        while b"\r\n\r\n" not in head:
            data = raw.recv(4096)
            if not data:
                raise ConnectionError(f"refused: {head!r}")
            head += data
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(f"refused: {head!r}")
    except OSError:
        raw.close()
        raise
    return raw


def trusting() -> ssl.SSLContext:
    """TLS for a client that takes any certificate: what a connection costs does not depend on whom it trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
