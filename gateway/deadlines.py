"""What happens when a connection's deadline comes: the shell around `roost.gateway.connections.keepalive`."""

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
"""How often to look whether memory can be given back."""
_PING = ping_bytes()
_SOON = ticks(1.0)
_TIDY = ticks(TIDY_S)


class Deadlines:
    """Advance the wheel of `links` and act on what falls due."""

    def __init__(self, links: ConnectionWriter, door: HandshakeHandler, settings: Settings) -> None:
        self._links = links
        self._slots = links.slots
        self._door = door
        self._rhythm = KeepaliveConfig.of(settings)
        self._message_ticks = ticks(settings.max_message_s)
        self._asked = PendingPongs(self._rhythm.pong)
        self._max_outbox_age = ticks(settings.max_outbox_age_s)

    def turn(self) -> None:
        """One tick."""
        due = self._links.wheel.turn()
        if due:
            due = self._ping_calm(due)
        for fd in due:
            try:
                self._due(fd)
            except Exception:  # a bug of ours; the others' deadlines are kept
                log.exception("connection failed", extra={"action": "connection_failed", "fd": fd})
                self._links.abort(fd)
        links, slots = self._links, self._slots
        if links.wheel.now % _TIDY == 0:
            links.tidy()
        for fd in self._asked.silent(links.wheel.now, slots.last_read, slots.pinged):
            if slots.state[fd] == OPEN and fd not in links.outboxes:
                links.start_close(fd, NO_PONG.number, NO_PONG.reason)

    def _ping_calm(self, due: list[int]) -> list[int]:
        """Ping those that only ever answer pings, together; the others of `due`."""
        links, slots = self._links, self._slots
        now, pinged = links.wheel.now, slots.pinged
        calm = keepalive.idle_responsive(
            due, slots.state, slots.last_read, slots.last_message, pinged, now, self._rhythm
        )
        if links.outboxes or links.parsers:
            calm = [fd for fd in calm if fd not in links.outboxes and fd not in links.parsers]
        if not calm:
            return due
        links.wheel.put_all(calm, self._rhythm.ping)
        for fd in calm:
            pinged[fd] = now
        links.counters.pings += len(calm)
        self._asked.note_all(calm, now)
        links.write_each(zip(calm, repeat(_PING)))
        if len(calm) == len(due):
            return []
        served = set(calm)
        return [fd for fd in due if fd not in served]

    def _due(self, fd: int) -> None:
        links, slots = self._links, self._slots
        if slots.state[fd] != OPEN or fd in links.outboxes or fd in links.parsers:
            self._unusual(fd)
            return
        now, pinged = links.wheel.now, slots.pinged
        verdict, again = next_action(
            fd, slots.last_read[fd], slots.last_message[fd], pinged[fd], slots.idle_holds[fd] > 0, now, self._rhythm
        )
        if verdict is keepalive.IDLE:
            links.start_close(fd, IDLE.number, IDLE.reason)
            return
        links.wheel.put(fd, again)
        if verdict is keepalive.PING:
            pinged[fd] = now
            links.counters.pings += 1
            self._asked.note(fd, now)
            links.write(fd, _PING)

    def _unusual(self, fd: int) -> None:
        """A deadline of a connection that is not open, does not take what it is sent, or is in the middle of a message.

        None of them is pinged: a ping would wait behind what the peer does not take, and a peer that sends is alive.
        """
        links, now = self._links, self._links.wheel.now
        state, outbox = links.slots.state[fd], links.outboxes.get(fd)
        if state == HANDSHAKE:
            self._door.too_late(fd)
        elif state in (CLOSING, HALF_CLOSED):
            links.abort(fd)
        elif state == OPEN and outbox is not None:
            too_old = outbox.oldest() + self._max_outbox_age
            if now >= too_old:
                links.too_slow(fd)
            else:
                links.wheel.put(fd, too_old)
        elif state == OPEN:
            too_long = links.parsers[fd].begun + self._message_ticks
            if now >= too_long:
                links.start_close(fd, POLICY.number, "the message did not come to an end in time")
            else:
                links.wheel.put(fd, min(too_long, now + _SOON))
