"""The write side of all connections: bytes out, and how every connection ends.

A connection ends in three steps, so that the close frame arrives and `on_close` is called at a safe moment.

1. `start_close` sends a close frame, makes the handle stale, and waits for the peer's close frame (CLOSING).
2. `half_close` shuts down the sending side once everything is sent, and discards input until the peer closes its side
   (HALF_CLOSED).
3. `abort` removes the socket from the poller and schedules the slot to be freed (CLOSED).

The peer, or a deadline, can move a connection from any state directly to the last step. Calls of `on_close` and slots
to be freed go through one queue (`roost.gateway.io.close_queue`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from roost.gateway.api import Application, Frame, Message, Peer, Request
from roost.gateway.connections.counters import Counters
from roost.gateway.connections.slots import (
    CLOSED,
    CLOSING,
    FINISH,
    FREE,
    HALF_CLOSED,
    OPEN,
    WINDOW_SHIFT,
    ConnectionSlots,
)
from roost.gateway.connections.wheel import SIZE, TICK_S, Wheel, ticks
from roost.gateway.io.batch import Frames
from roost.gateway.io.callbacks import RAISED, Callbacks
from roost.gateway.io.close_queue import CloseQueue
from roost.gateway.io.outbox import Outbox
from roost.gateway.io.poller import Poller
from roost.gateway.io.transport import Transport
from roost.gateway.process import memory
from roost.gateway.settings import Settings
from roost.gateway.websocket.deflate import Deflater
from roost.gateway.websocket.frames import BINARY_HEADS, Parser, close_bytes, encode, encode_deflated
from roost.wire.codes import APPLICATION_ERROR, SLOW, Close

LOST = 1006
"""Close code that `on_close` gets when there was no close frame (RFC 6455 section 7.1.5)."""

READ_PAUSE_BYTES = 64 * 1024
"""While more than this waits in a peer's outbox, the gateway does not read from it: answers would add to the outbox."""

CORK_BYTES = 16 * 1024
"""Data longer than this, or after this much corked data of one connection, is written at once."""


class ConnectionWriter:
    """Writes to connections and closes them; implements `api.ConnectionOperations` for `Peer`."""

    def __init__(
        self, app: Application, settings: Settings, transport: Transport, poller: Poller, counters: Counters
    ) -> None:
        self.app = app
        self._callbacks = Callbacks(app, counters)
        self.slots = ConnectionSlots()
        self._state, self._generation = self.slots.state, self.slots.generation
        self._flags, self._last_message = self.slots.flags, self.slots.last_message
        self.wheel = Wheel()
        self.poller = poller
        self.transport = transport
        self._write = transport.write
        self._write_frames = transport.write_frames
        transport.on_stuck = self._on_stuck
        self.counters = counters
        self.outboxes: dict[int, Outbox] = {}
        self._corked: dict[int, bytes] | None = None
        """Data held back between `cork` and `uncork`, by descriptor; also of connections that are CLOSED meanwhile."""
        self._end_after_uncork: list[int] = []
        """Connections to end after that data is written."""
        self.parsers: dict[int, Parser] = {}
        self.opening: tuple[int, Callable[[], Request]] | None = None
        """The connection whose `on_open` is running, and a function that makes its Request."""
        self.on_free: list[Callable[[int], None]] = []
        """Called with each descriptor whose slot is freed."""
        self.on_trim: list[Callable[[int], None]] = [self.wheel.trim]
        """Called with the new number of slots when the table was cut; no descriptor from that number on is in use."""
        self._max_outbox_bytes = settings.max_outbox_bytes
        self._max_outbox_age = ticks(settings.max_outbox_age_s)
        self._deflater = Deflater()
        self._compress_from_bytes = settings.compress_from_bytes
        self._small_bytes = min(settings.compress_from_bytes, len(BINARY_HEADS))
        self._close_ticks = ticks(settings.close_s)
        self._close_queue = CloseQueue(self._notify_closed, self._free)
        self.settle = self._close_queue.settle
        """Process the close queue now: call `on_close`, free slots."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._close_queue.start(loop)

    # Methods of Peer (`api.ConnectionOperations`).

    def send(self, fd: int, generation: int, message: Message) -> bool:
        try:
            if self._state[fd] != OPEN or self._generation[fd] != generation or fd < 0:
                return False
        except IndexError:
            return False
        self.counters.messages_out += 1
        self._last_message[fd] = self.wheel.now
        if type(message) is bytes and (size := len(message)) < self._small_bytes:
            corked = self._corked
            if corked is not None and fd not in corked and not (self.outboxes and fd in self.outboxes):
                corked[fd] = BINARY_HEADS[size] + message
                return True
        bits = self._flags[fd] >> WINDOW_SHIFT
        compresses = bits and len(message) >= self._compress_from_bytes
        return self.write_corked(fd, encode_deflated(message, self._deflater, bits) if compresses else encode(message))

    def send_frame(self, fd: int, generation: int, frame: Frame) -> bool:
        if not self.slots.is_open(fd, generation):
            return False
        data, bits = frame.data, self._flags[fd] >> WINDOW_SHIFT
        if bits and len(frame.message) >= self._compress_from_bytes:
            if bits not in frame.deflated:
                frame.deflated[bits] = encode_deflated(frame.message, self._deflater, bits)
            data = frame.deflated[bits]
        self.counters.messages_out += 1
        self._last_message[fd] = self.wheel.now
        return self.write_corked(fd, data)

    def close(self, fd: int, generation: int, close: Close) -> None:
        if self.slots.is_open(fd, generation):
            self.start_close(fd, close.number, close.reason)

    def hold(self, fd: int, generation: int, change: int) -> None:
        if self.slots.is_open(fd, generation):
            self.slots.hold(fd, change)
            if change < 0:
                self.slots.last_message[fd] = self.wheel.now
                self.wheel.advance(fd, self.wheel.now + 1)

    def is_open(self, fd: int, generation: int) -> bool:
        return self.slots.is_open(fd, generation)

    def request(self, fd: int, generation: int) -> Request | None:
        if self.opening is None or self.opening[0] != fd or not self.slots.is_open(fd, generation):
            return None
        return self.opening[1]()

    def unsent_bytes(self, fd: int, generation: int) -> int:
        if not self.slots.is_open(fd, generation):
            return 0
        outbox = self.outboxes.get(fd)
        corked = len(self._corked.get(fd, b"")) if self._corked else 0
        return corked + (outbox.byte_count if outbox else 0)

    # Bytes out.

    def cork(self) -> None:
        """Hold small messages back until `uncork`, so that many are written in a row.

        A write system call evicts the gateway's code and data from the processor's cache: many writes in a row take
        less time than writes that alternate with other work. Several messages to one peer also share a write.
        """
        self._corked = {}

    def uncork(self) -> None:
        """Write all data held back since `cork`."""
        corked, self._corked = self._corked, None
        ending, self._end_after_uncork = self._end_after_uncork, []
        try:
            if corked:
                self.write_each(corked.items())
        finally:
            for fd in ending:
                self._end_when_sent(fd)

    def write_each(self, frames: Frames) -> None:
        """Like `write` for many connections, none of which has an outbox. Not allowed between `cork` and `uncork`."""
        total, unsent = self._write_frames(frames)
        self.counters.bytes_out += total
        for fd, data, sent in unsent:
            if self._state[fd] == CLOSED:
                continue
            outbox = self._begin_outbox(fd, data, sent)
            if outbox.byte_count > self._max_outbox_bytes and self._state[fd] == OPEN:
                self.too_slow(fd)

    def write_corked(self, fd: int, data: bytes) -> bool:
        """Send whole frames or an HTTP answer; between `cork` and `uncork` the data is held back.

        Returns False when this closed the connection.
        """
        corked = self._corked
        if corked is None or len(data) > CORK_BYTES or fd in self.outboxes:
            return self.write(fd, data)
        if fd in corked:
            if len(corked[fd]) > CORK_BYTES:
                return self.write(fd, data)
            data = corked[fd] + data
        corked[fd] = data
        return True

    def write(self, fd: int, data: bytes) -> bool:
        """Send whole frames or an HTTP answer, now or through the outbox; False when this closed the connection."""
        if self._corked and fd in self._corked:
            data = self._corked.pop(fd) + data
        if fd in self.outboxes:
            return self._put(fd, self.outboxes[fd], data)
        try:
            sent = self._write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort(fd)
            return False
        self.counters.bytes_out += sent
        if sent == len(data):
            return True
        outbox = self._begin_outbox(fd, data, sent)
        return outbox.byte_count <= self._max_outbox_bytes or self.too_slow(fd)

    def _begin_outbox(self, fd: int, data: bytes, sent: int) -> Outbox:
        self.outboxes[fd] = outbox = Outbox(data, sent, self.wheel.now)
        self.wheel.advance(fd, self.wheel.now + self._max_outbox_age)
        self._watch(fd, outbox)
        return outbox

    def _on_stuck(self, fd: int) -> None:
        """Make an outbox with an empty piece, because the transport holds bytes that it could not send."""
        if fd not in self.outboxes and self._state[fd] != CLOSED:
            self._begin_outbox(fd, b"", 0)

    def _put(self, fd: int, outbox: Outbox, data: bytes) -> bool:
        if outbox.byte_count + len(data) > self._max_outbox_bytes:
            return self.too_slow(fd)
        was_small = outbox.byte_count <= READ_PAUSE_BYTES
        outbox.put(data, self.wheel.now)
        if was_small and outbox.byte_count > READ_PAUSE_BYTES:
            self._watch(fd, outbox)
        return True

    def _watch(self, fd: int, outbox: Outbox) -> None:
        reads = self.slots.state[fd] != OPEN or outbox.byte_count <= READ_PAUSE_BYTES
        self.poller.watch(fd, read=reads, write=True)

    def on_writable(self, fd: int) -> None:
        """Flush the outbox of a connection that is writable again."""
        outbox = self.outboxes.get(fd)
        if outbox is None:
            return
        try:
            is_empty = outbox.flush(lambda piece: self._write_some(fd, piece))
        except OSError:
            self.abort(fd)
            return
        if not is_empty:
            self._watch(fd, outbox)
            return
        del self.outboxes[fd]
        self.poller.watch(fd, read=True, write=False)
        if self.slots.flags[fd] & FINISH:
            self.half_close(fd)
        elif self.slots.state[fd] == OPEN:
            self.call(fd, self.app.on_drained)

    def _write_some(self, fd: int, piece: memoryview) -> int:
        try:
            taken = self.transport.write(fd, piece)
        except BlockingIOError:
            return -1
        self.counters.bytes_out += taken
        return taken

    def too_slow(self, fd: int) -> bool:
        """Close a peer that does not read, with code 4200 (reconnect at once). Always returns False."""
        if self.slots.state[fd] != OPEN:
            self.abort(fd)
            return False
        self.counters.slow_closes += 1
        outbox = self.outboxes.get(fd)
        if outbox is not None:
            outbox.drop_unstarted()
        self.start_close(fd, SLOW.number, SLOW.reason)
        return False

    def start_close(self, fd: int, code: int, reason: str) -> None:
        """Close an open connection: send a close frame, then wait for the peer's close frame."""
        self._end_open(fd, CLOSING, code, reason)
        self.wheel.put(fd, self.wheel.now + self._close_ticks)
        self._write_last(fd, close_bytes(code, reason))

    def fail_protocol(self, fd: int, close: Close) -> None:
        """Close a connection whose peer violated the protocol; its input is no longer read (RFC 6455 section 7.1.7)."""
        self.start_close(fd, close.number, close.reason)
        if self.slots.state[fd] == CLOSING:
            self.half_close(fd)

    def reply_close(self, fd: int, code: int, reason: str) -> None:
        """Answer the peer's close frame with the same code, unless ours was sent first, and end (section 7.1.1)."""
        if self.slots.state[fd] == OPEN:
            self._end_open(fd, CLOSING, code, reason)
            self._write_last(fd, close_bytes(code, reason))
        if self._corked is not None:
            self._end_after_uncork.append(fd)
        else:
            self._end_when_sent(fd)

    def _end_when_sent(self, fd: int) -> None:
        if fd in self.outboxes:
            self.half_close(fd)
        else:
            self.abort(fd)

    def _write_last(self, fd: int, data: bytes) -> None:
        """Write a close frame; it may exceed the limit of the outbox."""
        outbox = self.outboxes.get(fd)
        if outbox is None:
            self.write_corked(fd, data)
        else:
            outbox.put(self._corked.pop(fd, b"") + data if self._corked else data, self.wheel.now)
            self._watch(fd, outbox)

    def half_close(self, fd: int) -> None:
        """Shut down the sending side once everything is sent, and wait for the peer to close its side."""
        if self._corked and fd in self._corked and not self.write(fd, b""):
            return
        if fd in self.outboxes:
            self.slots.state[fd] = CLOSING
            self.slots.flags[fd] |= FINISH
            return
        self.slots.state[fd] = HALF_CLOSED
        self.slots.last_message[fd] = self.wheel.now
        self.wheel.put(fd, self.wheel.now + self._close_ticks)
        self.parsers.pop(fd, None)
        try:
            self.transport.shut(fd)
        except OSError:
            self.abort(fd)

    def abort(self, fd: int) -> None:
        """End the connection at once. `on_close` gets LOST if the connection was open."""
        state = self.slots.state[fd]
        if state in (FREE, CLOSED):
            return
        if state == OPEN:
            self._end_open(fd, CLOSED, LOST, "")
        self.slots.state[fd] = CLOSED
        self.poller.remove(fd)
        self.wheel.remove(fd)
        self.outboxes.pop(fd, None)
        self.parsers.pop(fd, None)
        self._close_queue.add(fd)

    def _end_open(self, fd: int, state: int, code: int, reason: str) -> None:
        assert self.slots.state[fd] == OPEN
        self.slots.state[fd] = state
        self.slots.last_message[fd] = self.wheel.now
        self.counters.open_now -= 1
        self.counters.closed[code] += 1
        self._close_queue.add((fd, self.slots.generation[fd], code, reason))

    def _free(self, fd: int) -> None:
        for forget in self.on_free:
            forget(fd)
        self.slots.free(fd)
        with contextlib.suppress(OSError):
            self.transport.close(fd)

    def tidy(self) -> None:
        """Return memory to the system after most connections have left; called periodically.

        Dictionaries keep their largest size until they are cleared, and the wheel keeps its entries for one revolution.
        """
        if not self.slots.trim():
            return
        for trim in self.on_trim:
            trim(len(self.slots))
        for table in (self.outboxes, self.parsers):
            if not table:
                table.clear()
        if self._loop is not None:
            self._loop.call_later(SIZE * TICK_S, memory.give_back)

    def _notify_closed(self, fd: int, generation: int, code: int, reason: str) -> None:
        self._callbacks.notify_closed(Peer(self, fd, generation), code, reason)

    def call(self, fd: int, callback: Callable[..., object], *args: object) -> None:
        """Run a callback of the application; if it raises, that connection is closed (4101)."""
        try:
            callback(Peer(self, fd, self.slots.generation[fd]), *args)
        except RAISED:
            self.fail(fd)

    def fail(self, fd: int) -> None:
        """Log the exception of a callback and close its connection (4101). Must be called in an exception handler."""
        self._callbacks.note_failure()
        if self.slots.state[fd] == OPEN:
            self.start_close(fd, APPLICATION_ERROR.number, APPLICATION_ERROR.reason)
