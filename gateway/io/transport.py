"""The interface by which the gateway reads and writes client sockets, and its implementation for plain TCP.

Sockets are named by file descriptor, so that a connection needs no transport object. `roost.gateway.io.tls` implements
the same interface for TLS.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from roost.gateway.compiled import is_compiled
from roost.gateway.io import batch
from roost.gateway.io.batch import ReadMessages, WriteFrames


class Transport(Protocol):
    """Non-blocking input and output by descriptor.

    All methods raise OSError; BlockingIOError when there is no data or no buffer space.
    """

    first_read_bytes: int
    """Size of the first read. Only after a full read can there be more input."""
    on_stuck: Callable[[int], None]
    """Called when the transport holds bytes that `write` accepted but the socket did not."""

    def read(self, fd: int, size: int) -> bytes:
        """Return at most `size` bytes; empty at the end of the stream."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write bytes; return how many were taken."""

    read_messages: ReadMessages
    """Many reads in one call (`roost.gateway.io.batch`)."""
    write_frames: WriteFrames
    """Many writes in one call."""

    def shut(self, fd: int) -> None:
        """Shut down the sending side; input can still be read."""

    def close(self, fd: int) -> None:
        """Close the descriptor."""


class Plain:
    """Plain TCP, without TLS."""

    first_read_bytes = batch.MAX_READ_BYTES if is_compiled else 448
    """Most messages are small, and Python allocates objects under 512 bytes faster: 0.4 µs of an echo."""

    def __init__(self) -> None:
        self.on_stuck: Callable[[int], None] = lambda fd: None

    read = staticmethod(os.read)
    write = staticmethod(os.write)
    read_messages = staticmethod(batch.read_messages)
    write_frames = staticmethod(batch.write_frames)
    close = staticmethod(os.close)

    @staticmethod
    def shut(fd: int) -> None:
        with _borrowed(fd) as raw:
            raw.shutdown(socket.SHUT_WR)


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """Provide a socket object for a descriptor that stays open."""
    raw = socket.socket(fileno=fd)
    try:
        yield raw
    finally:
        raw.detach()


def peer_address(fd: int) -> str:
    """Return the peer's IP address; empty when the connection is already gone."""
    with _borrowed(fd) as raw:
        try:
            return str(raw.getpeername()[0])
        except OSError:
            return ""


def acknowledge(fd: int) -> None:
    """Make the kernel acknowledge received data at once instead of with the next answer (TCP_QUICKACK).

    Called when a request is incomplete. A peer that writes it in pieces without TCP_NODELAY sends the next piece only
    after the ACK (Nagle's algorithm, RFC 896), which would otherwise be delayed by 40 ms.
    """
    with _borrowed(fd) as raw, suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
