"""Many small reads, and many small writes, in one call: what a turn of the poller does for all who are ready.

The two loops that every message passes are functions here, each of them twice: in Python, for any transport, and
compiled (`_batch.c`), for plain TCP. The compiled ones have no step that is a trip through the interpreter, and keep
its lock for the whole of a batch.

What is read and answered in one turn is done in three sweeps: read all, then let the application have all, then write
all. The kernel's ways are long, and each of them pushes ours out of the processor's cache.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from roost.gateway.api import Message
from roost.gateway.compiled import is_compiled
from roost.gateway.connections.slots import OPEN
from roost.gateway.io.poller import READ, Ready
from roost.gateway.websocket.frames import Parser, is_empty_pong, single

log = logging.getLogger(__name__)

Cells = tuple[list[int], list[int], list[int]]
"""Of `ConnectionSlots`: state, last_read, last_message."""

Found = tuple[list[tuple[int, Message]], list[tuple[int, "bytes | int"]], int]
"""Messages, each with its descriptor. What else there was of a descriptor: the bytes that were read, none at the end of
its stream or when it broke; or its events, where nothing was read. How many bytes the messages and pongs were."""

Frames = Iterable[tuple[int, bytes]]
"""Descriptors, each with whole frames."""


class ReadMessages(Protocol):
    """`read_messages_by` for one transport."""

    def __call__(
        self, ready: list[Ready], size: int, limit: int, cells: Cells, parsers: dict[int, Parser], now: int, /
    ) -> Found: ...


Written = tuple[int, list[tuple[int, bytes, int]]]
"""How many bytes were taken. Those of which something was not: descriptor, frames, and how much of them was."""


class WriteFrames(Protocol):
    """`write_frames_by` for one transport."""

    def __call__(self, frames: Frames, /) -> Written: ...


def read_messages_by(
    read: Callable[[int, int], bytes],
    ready: list[Ready],
    size: int,
    limit: int,
    cells: Cells,
    parsers: dict[int, Parser],
    now: int,
) -> Found:
    """Read up to `size` bytes once from each open connection that is ready and not in the middle of a message.

    A read that is exactly one plain message of at most `limit` bytes comes out as that, and its connection was last_read
    and last_message in tick `now`; one that is exactly an empty pong, the answer to a ping of ours, counts as last_read and does
    not come out. Everything else comes out as it is.
    """
    state, last_read, last_message = cells
    messages: list[tuple[int, Message]] = []
    others: list[tuple[int, bytes | int]] = []
    byte_count = 0
    for fd, events in ready:
        if events != READ or not 0 <= fd < len(state) or state[fd] != OPEN or (parsers and fd in parsers):
            others.append((fd, events))
            continue
        try:
            data = read(fd, size)
        except (BlockingIOError, InterruptedError):
            continue
        except OSError:
            data = b""
        except Exception:  # a bug of ours ends one connection
            log.exception("reading failed", extra={"action": "connection_failed", "fd": fd})
            data = b""
        message = single(data, limit)
        if message is not None:
            last_read[fd] = last_message[fd] = now
            byte_count += len(data)
            messages.append((fd, message))
        elif is_empty_pong(data):
            last_read[fd] = now
            byte_count += len(data)
        else:
            others.append((fd, data))
    return messages, others, byte_count


def write_frames_by(write: Callable[[int, bytes], int], frames: Frames) -> Written:
    """Write each once.

    A descriptor comes once: what it did not take is for the caller to keep, and nothing may follow it before.
    """
    total, unsent = 0, []
    for fd, data in frames:
        try:
            sent = write(fd, data)
        except OSError:
            sent = 0
        total += sent
        if sent < len(data):
            unsent.append((fd, data, sent))
    return total, unsent


read_messages: ReadMessages = partial(read_messages_by, os.read)
write_frames: WriteFrames = partial(write_frames_by, os.write)
MAX_READ_BYTES = 4096
"""The most that the compiled one reads of a connection."""

if is_compiled:
    from roost.gateway.io import _batch

    assert (_batch.OPEN, _batch.MAX_READ_BYTES) == (OPEN, MAX_READ_BYTES)
    read_messages, write_frames = _batch.read_messages, _batch.write_frames
