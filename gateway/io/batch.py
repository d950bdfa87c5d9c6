"""Many small reads, or many small writes, in one call, for all connections that are ready in a turn of the poller.

The two loops on the path of every message are functions in this module. Each exists twice: in Python for any transport,
and in C (`_batch.c`) for plain TCP. The C versions run no Python code inside the loop and hold the interpreter's lock
(GIL) for the whole batch.

A turn has three phases: read from all connections, call the application for all messages, write all answers. Each
system call evicts the process's own code and data from the processor's cache, so alternating between the two is slower.
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
"""The columns `state`, `last_read` and `last_message` of `ConnectionSlots`."""

Found = tuple[list[tuple[int, Message]], list[tuple[int, "bytes | int"]], int]
"""The result of a batch of reads, in three parts.

1. Messages, each with its descriptor.
2. Everything else, by descriptor: the bytes that were read (empty when the stream ended or failed), or the epoll events
   of a descriptor that was not read.
3. How many bytes the messages and pongs had."""

Frames = Iterable[tuple[int, bytes]]
"""Descriptors, each with the whole frames to write to it."""


class ReadMessages(Protocol):
    """`read_messages_by`, bound to the read function of one transport."""

    def __call__(
        self, ready: list[Ready], size: int, limit: int, cells: Cells, parsers: dict[int, Parser], now: int, /
    ) -> Found: ...


Written = tuple[int, list[tuple[int, bytes, int]]]
"""How many bytes the kernel took; and for each incomplete write the descriptor, the frames, and how many bytes of them
were written."""


class WriteFrames(Protocol):
    """`write_frames_by`, bound to the write function of one transport."""

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

    A read that is exactly one uncompressed data frame of at most `limit` bytes is returned as a message and sets
    `last_read` and `last_message` to `now`. A read that is exactly an empty pong, the answer to a ping of the gateway,
    sets `last_read` only and is not returned. Everything else is returned as it is.
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
        except Exception:  # a bug in the gateway costs this connection only
            log.exception("internal error while reading", extra={"action": "connection_failed", "fd": fd})
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
    """Call `write` once for each pair; an OSError counts as nothing written.

    A descriptor may occur only once in `frames`. The caller keeps what was not written, and must send nothing else to
    that descriptor before it.
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
"""Largest read of the C version, in bytes."""

if is_compiled:
    from roost.gateway.io import _batch

    assert (_batch.OPEN, _batch.MAX_READ_BYTES) == (OPEN, MAX_READ_BYTES)
    read_messages, write_frames = _batch.read_messages, _batch.write_frames
