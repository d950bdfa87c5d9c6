"""What happens when a connection's deadline comes: the shell around `gateway.keepalive`."""

from __future__ import annotations

import logging

from gateway.door import Door
from gateway.frames import ping_bytes
from gateway.keepalive import Rhythm, Verdict, judge
from gateway.links import Links
from gateway.settings import Settings
from gateway.slots import CLOSING, GREETING, LINGERING, OPEN
from gateway.wheel import ticks
from wire.codes import IDLE, NO_PONG, POLICY

log = logging.getLogger(__name__)

_PING = ping_bytes()


class Deadlines:
    """Turns the wheel of `links` and acts on what falls due."""

    def __init__(self, links: Links, door: Door, settings: Settings) -> None:
        self._links = links
        self._door = door
        self._rhythm = Rhythm.of(settings)
        self._message_ticks = ticks(settings.max_message_s)
        self._max_outbox_age = ticks(settings.max_outbox_age_s)

    def turn(self) -> None:
        """One tick."""
        for fd in self._links.wheel.turn():
            try:
                self._due(fd)
            except Exception:  # a bug of ours; the others' deadlines are kept
                log.exception("connection failed", extra={"action": "connection_failed", "fd": fd})
                self._links.drop(fd)

    def _due(self, fd: int) -> None:
        state = self._links.slots.state[fd]
        if state == OPEN:
            self._open(fd)
        elif state == GREETING:
            self._door.too_late(fd)
        elif state in (CLOSING, LINGERING):
            self._links.drop(fd)

    def _open(self, fd: int) -> None:
        links, slots, wheel = self._links, self._links.slots, self._links.wheel
        outbox = links.outboxes.get(fd)
        if outbox is not None:
            too_old = outbox.oldest() + self._max_outbox_age
            if wheel.now >= too_old:
                links.too_slow(fd)
            else:
                wheel.put(fd, too_old)  # no ping: it would wait behind what the peer does not take
            return
        parser = links.parsers.get(fd)
        if parser is not None and wheel.now >= parser.begun + self._message_ticks:
            links.say_goodbye(fd, POLICY.number, "the message did not come to an end in time")
            return
        verdict, again = judge(
            fd, slots.heard[fd], slots.active[fd], slots.pinged[fd], slots.holds[fd] > 0, wheel.now, self._rhythm
        )
        if verdict is Verdict.IDLE:
            links.say_goodbye(fd, IDLE.number, IDLE.reason)
            return
        if verdict is Verdict.NO_PONG:
            links.say_goodbye(fd, NO_PONG.number, NO_PONG.reason)
            return
        wheel.put(fd, again if parser is None else min(again, parser.begun + self._message_ticks))
        if verdict is Verdict.PING:
            slots.pinged[fd] = wheel.now
            links.counters.pings += 1
            links.write(fd, _PING)
