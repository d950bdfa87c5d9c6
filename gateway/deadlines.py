"""Handles the connections whose deadline in the timing wheel has come.

`roost.gateway.io.ticker` calls `Deadlines.turn` once for each tick of the wheel. For an open connection,
`roost.gateway.connections.keepalive` decides whether it is pinged or closed as idle. This module also closes
connections that do not answer a ping, that take too long for a handshake or for one message, or whose outbox is too
old.
"""

from __future__ import annotations

import logging
from itertools import repeat

from roost.gateway.admission.handshake_handler import HandshakeHandler
from roost.gateway.connections import keepalive
from roost.gateway.connections.keepalive import KeepaliveConfig, PendingPongs, next_action
from roost.gateway.connections.slots import CLOSING, HALF_CLOSED, HANDSHAKE, OPEN
from roost.gateway.connections.wheel import ticks
from roost.gateway.io.writer import ConnectionWriter
from roost.gateway.settings import Settings
from roost.gateway.websocket.frames import ping_bytes
from roost.wire.codes import IDLE, NO_PONG, POLICY

log = logging.getLogger(__name__)

TIDY_S = 10.0
"""Interval at which the gateway checks whether it can return memory to the system."""
_PING = ping_bytes()
_SOON = ticks(1.0)
_TIDY = ticks(TIDY_S)


class Deadlines:
    """Advances the timing wheel of `writer` and handles the connections that are due."""

    def __init__(self, writer: ConnectionWriter, handshakes: HandshakeHandler, settings: Settings) -> None:
        self._writer = writer
        self._slots = writer.slots
        self._handshakes = handshakes
        self._keepalive = KeepaliveConfig.of(settings)
        self._message_ticks = ticks(settings.max_message_s)
        self._pending_pongs = PendingPongs(self._keepalive.pong)
        self._max_outbox_age = ticks(settings.max_outbox_age_s)

    def turn(self) -> None:
        """Advance the wheel by one tick and handle all deadlines of that tick."""
        due = self._writer.wheel.turn()
        if due:
            due = self._ping_responsive(due)
        for fd in due:
            try:
                self._due(fd)
            except Exception:  # a bug in the gateway; it must not affect other connections
                log.exception("internal error, connection aborted", extra={"action": "connection_failed", "fd": fd})
                self._writer.abort(fd)
        writer, slots = self._writer, self._slots
        if writer.wheel.now % _TIDY == 0:
            writer.tidy()
        for fd in self._pending_pongs.silent(writer.wheel.now, slots.last_read, slots.pinged):
            if slots.state[fd] == OPEN and fd not in writer.outboxes:
                writer.start_close(fd, NO_PONG.number, NO_PONG.reason)

    def _ping_responsive(self, due: list[int]) -> list[int]:
        """Ping together all connections that only answer pings; return the remaining ones of `due`."""
        writer, slots = self._writer, self._slots
        now, pinged = writer.wheel.now, slots.pinged
        responsive = keepalive.idle_responsive(
            due, slots.state, slots.last_read, slots.last_message, pinged, now, self._keepalive
        )
        if writer.outboxes or writer.parsers:
            responsive = [fd for fd in responsive if fd not in writer.outboxes and fd not in writer.parsers]
        if not responsive:
            return due
        writer.wheel.put_all(responsive, self._keepalive.ping)
        for fd in responsive:
            pinged[fd] = now
        writer.counters.pings += len(responsive)
        self._pending_pongs.note_all(responsive, now)
        writer.write_each(zip(responsive, repeat(_PING)))
        if len(responsive) == len(due):
            return []
        handled = set(responsive)
        return [fd for fd in due if fd not in handled]

    def _due(self, fd: int) -> None:
        writer, slots = self._writer, self._slots
        if slots.state[fd] != OPEN or fd in writer.outboxes or fd in writer.parsers:
            self._unusual(fd)
            return
        now, pinged = writer.wheel.now, slots.pinged
        verdict, again = next_action(
            fd, slots.last_read[fd], slots.last_message[fd], pinged[fd], slots.idle_holds[fd] > 0, now, self._keepalive
        )
        if verdict is keepalive.IDLE:
            writer.start_close(fd, IDLE.number, IDLE.reason)
            return
        writer.wheel.put(fd, again)
        if verdict is keepalive.PING:
            pinged[fd] = now
            writer.counters.pings += 1
            self._pending_pongs.note(fd, now)
            writer.write(fd, _PING)

    def _unusual(self, fd: int) -> None:
        """Handle a deadline of a connection that is not open, has an outbox, or is in the middle of a message.

        Such a connection is not pinged: a ping would wait behind the unsent bytes, and a peer that is sending is alive.
        """
        writer, now = self._writer, self._writer.wheel.now
        state, outbox = writer.slots.state[fd], writer.outboxes.get(fd)
        if state == HANDSHAKE:
            self._handshakes.too_late(fd)
        elif state in (CLOSING, HALF_CLOSED):
            writer.abort(fd)
        elif state == OPEN and outbox is not None:
            too_old = outbox.oldest() + self._max_outbox_age
            if now >= too_old:
                writer.too_slow(fd)
            else:
                writer.wheel.put(fd, too_old)
        elif state == OPEN:
            too_long = writer.parsers[fd].begun + self._message_ticks
            if now >= too_long:
                writer.start_close(fd, POLICY.number, "the message did not come to an end in time")
            else:
                writer.wheel.put(fd, min(too_long, now + _SOON))
