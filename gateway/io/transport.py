"""How bytes get in and out of a client's socket: by descriptor, without an object for each connection."""

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
    """Non-blocking input and output by descriptor. All raise OSError; no room or no data is BlockingIOError."""

    first_read_bytes: int
    """How much to ask for at first. A full read may be followed by another; anything less was all there was."""
    on_stuck: Callable[[int], None]
    """Called when bytes that were taken wait inside the transport for room in the socket."""

    def read(self, fd: int, size: int) -> bytes:
        """At most `size` bytes; empty at the end of the stream."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Hand bytes to the kernel; how many it took."""

    read_messages: ReadMessages
    """Many reads in one call (`roost.gateway.io.batch`)."""
    write_frames: WriteFrames
    """Many writes in one call."""

    def shut(self, fd: int) -> None:
        """End our side of the stream; input still comes."""

    def close(self, fd: int) -> None:
        """Give the descriptor back."""


class Plain:
    """TCP as it is."""

    first_read_bytes = batch.MAX_READ_BYTES if is_compiled else 448
    """Most messages are small, and in Python objects under 512 bytes are had faster: 0.4 µs of an echo."""

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
    """The socket behind a descriptor that stays open."""
    raw = socket.socket(fileno=fd)
    try:
        yield raw
    finally:
        raw.detach()


def peer_address(fd: int) -> str:
    """The other end's IP address; empty when it is gone already."""
    with _borrowed(fd) as raw:
        try:
            return str(raw.getpeername()[0])
        except OSError:
            return ""


def acknowledge(fd: int) -> None:
    """Have the kernel acknowledge at once what has come, with no answer of ours to wait for.

    To be called when a request is not all there. A peer that writes it in pieces and has not set TCP_NODELAY keeps the
    next piece until then (RFC 896), which would take the 40 ms of a delayed ACK.
    """
    with _borrowed(fd) as raw, suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
