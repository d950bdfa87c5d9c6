"""The read side of all connections: turns bytes from clients into messages for the application.

The poller calls `FrameReader.serve` with the connections that are ready. All of them are read once, in one batch
(`roost.gateway.io.batch`). Input that is exactly one small message goes directly to the application. Other input is
parsed by `roost.gateway.websocket.frames`, or by the handshake handler while a connection is in its opening handshake.
The reader also answers pings and close frames, and applies the rate limits of messages and pings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from sys import getrefcount
from typing import Any

from roost.gateway.api import Message, Peer
from roost.gateway.connections.rate import Rate
from roost.gateway.connections.slots import (
    CLOSED,
    CLOSING,
    FREE,
    HALF_CLOSED,
    HANDSHAKE,
    OPEN,
    WINDOW_SHIFT,
)
from roost.gateway.connections.wheel import ticks
from roost.gateway.io.callbacks import RAISED
from roost.gateway.io.poller import WRITE, Ready
from roost.gateway.io.writer import ConnectionWriter
from roost.gateway.settings import Settings
from roost.gateway.websocket.frames import (
    Event,
    Kind,
    Parser,
    is_empty_pong,
    plain,
    plain_close,
    pong_bytes,
    single,
)
from roost.wire.codes import POLICY

log = logging.getLogger(__name__)

BURST_S = 2.0
"""Burst that the rate limits of messages and pings allow, in seconds' worth of the rate."""

READ_BYTES = 16 * 1024
"""Largest read after a full first read: what one connection may use of a turn. 400 messages of 32 bytes."""

_TEXT, _BINARY, _CLOSE, _PING, _VIOLATION = (
    int(kind) for kind in (Kind.TEXT, Kind.BINARY, Kind.CLOSE, Kind.PING, Kind.VIOLATION)
)
_DATA = (_TEXT, _BINARY)


def _lone_count() -> int:
    """Return the reference count of an object that only one local variable refers to; interpreters differ."""
    alone = object()
    return getrefcount(alone)


_LONE = _lone_count()


class FrameReader:
    """Reads from connections whose handshake is complete."""

    def __init__(self, writer: ConnectionWriter, settings: Settings) -> None:
        self.read_handshake: Callable[[int], None] = writer.abort
        """Called for readable connections whose handshake is in progress."""
        self._writer = writer
        slots = writer.slots
        self._state, self._flags, self._generation = slots.state, slots.flags, slots.generation
        self._last_read = slots.last_read
        self._cells = slots.state, slots.last_read, slots.last_message
        self._read_messages = writer.transport.read_messages
        self._read = writer.transport.read
        self._first_read_bytes = writer.transport.first_read_bytes
        self._on_message = writer.app.on_message
        self._max_message_bytes = settings.max_message_bytes
        self._quick_bytes = -1 if settings.max_messages_per_s else settings.max_message_bytes
        """Messages up to this size need no check beyond that of `read_messages`; -1 where their rate is limited."""
        self._max_fragments = settings.max_fragments
        self._message_ticks = ticks(settings.max_message_s)
        self._messages = Rate(settings.max_messages_per_s, BURST_S)
        self._pings = Rate(settings.max_pings_per_s, BURST_S)
        for rate in (self._messages, self._pings):
            if rate.per_s:
                writer.on_free.append(rate.forget)
                writer.on_trim.append(rate.trim)

    def serve(self, ready: list[Ready]) -> None:
        """Read each of these descriptors once and handle the input; answers are written after the last one."""
        self._writer.cork()
        try:
            self._serve(ready)
        finally:
            self._writer.uncork()

    def _serve(self, ready: list[Ready]) -> None:
        writer = self._writer
        try:
            messages, others, byte_count = self._read_messages(
                ready, self._first_read_bytes, self._quick_bytes, self._cells, writer.parsers, writer.wheel.now
            )
        except Exception:  # out of memory, or a bug in the gateway: it is unknown what was read from which connection
            self._abort_failed([fd for fd, _ in ready])
            return
        writer.counters.bytes_in += byte_count
        self._dispatch(messages)
        for fd, what in others:
            self._serve_other(fd, what)

    def _dispatch(self, messages: Iterable[tuple[int, Message]]) -> None:
        """Pass each message to the application; a Peer that the application did not keep is reused for the next one."""
        writer, on_message, states, generations = self._writer, self._on_message, self._state, self._generation
        peer: Any = None
        count = 0
        for fd, message in messages:
            if states[fd] != OPEN:  # closed by the callback of an earlier message
                continue
            count += 1
            if getrefcount(peer) != _LONE:
                peer = Peer(writer, 0, 0)
            peer.fd, peer.generation = fd, generations[fd]
            try:
                on_message(peer, message)
            except RAISED:
                self._fail(fd)
        writer.counters.messages_in += count

    def _fail(self, fd: int) -> None:
        """Close the connection whose callback raised; an error in doing so must not affect the rest of the batch."""
        try:
            self._writer.fail(fd)
        except Exception:
            self._abort_failed([fd])

    def _serve_other(self, fd: int, what: bytes | int) -> None:
        """Handle bytes that are not exactly one message, or the events of a descriptor that was not read."""
        try:
            if isinstance(what, bytes):
                if self._state[fd] not in (FREE, CLOSED):
                    self._on_bytes(fd, what)
                return
            if what & WRITE:
                self._writer.on_writable(fd)
            if what & ~WRITE:
                self.on_readable(fd)
        except Exception:  # a bug in the gateway
            self._abort_failed([fd])

    def _abort_failed(self, fds: list[int]) -> None:
        """Abort connections after an internal error; otherwise epoll would report them again for ever.

        Must be called inside an exception handler.
        """
        log.exception("internal error, connection aborted", extra={"action": "connection_failed", "fds": fds})
        for fd in fds:
            try:
                self._writer.abort(fd)
            except Exception:
                log.exception("connection could not be aborted", extra={"action": "connection_failed", "fd": fd})

    def on_readable(self, fd: int) -> None:
        """Read once from a connection that is readable, and handle the input."""
        state = self._state[fd]
        if state == HANDSHAKE:
            self.read_handshake(fd)
        elif state not in (FREE, CLOSED):
            try:
                data = self._read(fd, self._first_read_bytes)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._on_bytes(fd, data)

    def _on_bytes(self, fd: int, data: bytes) -> None:
        """Handle the result of a first read; empty bytes are the end of the stream."""
        writer = self._writer
        if len(data) == self._first_read_bytes:
            data = self._read_on(fd, data)
        if not data:
            writer.abort(fd)
            return
        writer.counters.bytes_in += len(data)
        if self._state[fd] != HALF_CLOSED:
            self._last_read[fd] = writer.wheel.now
            if fd in writer.parsers:
                self.receive(fd, data)
            elif (closed := plain_close(data)) is not None:
                writer.reply_close(fd, *closed)
            elif not is_empty_pong(data):
                self.receive(fd, data)

    def _read_on(self, fd: int, data: bytes) -> bytes:
        """Read once more after a full read, since there may be more input."""
        try:
            return data + self._read(fd, READ_BYTES)
        except OSError:
            return data

    def receive(self, fd: int, data: bytes) -> None:
        """Parse bytes from the peer and handle the frames in them."""
        parser = self._writer.parsers.get(fd)
        if parser is None:
            if self._state[fd] == OPEN:
                message = single(data, self._max_message_bytes)
                if message is not None:
                    self._message(fd, message)
                    return
            deflated = self._flags[fd] >> WINDOW_SHIFT > 0
            events, used = plain(data, self._max_message_bytes, deflated=deflated)
            if events:
                self._deliver(fd, events)
            if used == len(data) or self._state[fd] not in (OPEN, CLOSING):
                return
            data = data[used:]
            parser = self._borrow(fd, deflated=deflated)
        self._deliver(fd, parser.feed(data))
        if parser.at_rest:
            self._writer.parsers.pop(fd, None)

    def _borrow(self, fd: int, *, deflated: bool) -> Parser:
        writer = self._writer
        parser = Parser(self._max_message_bytes, self._max_fragments, writer.wheel.now, deflated=deflated)
        writer.parsers[fd] = parser
        writer.wheel.advance(fd, writer.wheel.now + self._message_ticks)
        return parser

    def _deliver(self, fd: int, events: Iterable[Event]) -> None:
        writer, state = self._writer, self._writer.slots.state
        for kind, payload in events:
            if state[fd] == OPEN:
                if kind in _DATA:
                    self._message(fd, payload)
                elif kind == _PING:
                    self._ping(fd, payload)
                elif kind == _CLOSE:
                    writer.reply_close(fd, *payload)
                elif kind == _VIOLATION:
                    writer.fail_protocol(fd, payload)
            elif state[fd] == CLOSING and kind == _CLOSE:
                writer.reply_close(fd, *payload)
            elif state[fd] == CLOSING and kind == _VIOLATION:
                writer.half_close(fd)
            if state[fd] in (HALF_CLOSED, CLOSED):
                return

    def _message(self, fd: int, message: Message) -> None:
        writer = self._writer
        now = writer.wheel.now
        if self._messages.per_s and not self._messages.takes(fd, now):
            writer.start_close(fd, POLICY.number, "too many messages a second")
            return
        writer.counters.messages_in += 1
        writer.slots.last_message[fd] = now
        if fd in writer.parsers:
            writer.parsers[fd].begun = now
        self._call(fd, message)

    def _call(self, fd: int, message: Message) -> None:
        writer = self._writer
        try:
            self._on_message(Peer(writer, fd, self._generation[fd]), message)
        except RAISED:
            writer.fail(fd)

    def _ping(self, fd: int, payload: bytes) -> None:
        if self._pings.takes(fd, self._writer.wheel.now):
            self._writer.write(fd, pong_bytes(payload))
        else:
            self._writer.start_close(fd, POLICY.number, "too many pings a second")
