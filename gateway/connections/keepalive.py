"""What is due for a connection, decided from its cells alone: pure, so that a test can walk every case.

Being alive and being busy are different things. Any byte from the peer shows that it lives; after `ping` ticks of
silence it is asked, and silence through `pong` more ticks ends it. Only messages show that it is busy; a client
without any for `idle` ticks, and not held by the application, is sent home with a code of its own.

Pings must not burst, not even when ten thousand clients connect in one second or all answer one broadcast.
So each descriptor has a phase. The first ping comes at the connection's phase within the first `ping` ticks. Later ones
come after half of `ping` to all of it, at the descriptor's phase in half a period: a silent connection is pinged
exactly once every `ping` ticks, at its own moment; a busy one never.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from roost.gateway.connections.slots import OPEN
from roost.gateway.connections.wheel import ticks
from roost.gateway.settings import Settings


class Verdict(Enum):
    """What to do with a connection whose deadline has come."""

    NOTHING = "nothing"
    PING = "ping"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class KeepaliveConfig:
    """The settings in ticks; `ping` is even, so that a silent connection keeps its phase. 0 is never."""

    ping: int
    pong: int
    idle: int

    @classmethod
    def of(cls, settings: Settings) -> KeepaliveConfig:
        ping = ticks(settings.ping_after_s)
        return cls(ping=ping + ping % 2, pong=ticks(settings.pong_within_s), idle=ticks(settings.idle_close_s))


NOTHING, PING, IDLE = Verdict.NOTHING, Verdict.PING, Verdict.IDLE
"""Looked up once: an enum's attributes are slow, and this is asked thousands of times a second."""

FAR = 0xFFFFFFFF
"""No deadline."""


def ping_at(fd: int, last_read: int, pinged: int, config: KeepaliveConfig) -> int:
    """The tick of the next ping of a connection last last_read at `last_read` and last pinged at `pinged` (0: never)."""
    if not config.ping:
        return FAR
    if not pinged:
        return last_read + 1 + (fd - last_read - 1) % config.ping
    half = config.ping // 2
    if 0 <= last_read - pinged < half:
        return pinged + config.ping  # the usual case, a shorter way to the same tick
    earliest = last_read + half + 1
    return earliest + (fd - earliest) % half


def next_action(
    fd: int, last_read: int, last_message: int, pinged: int, held: bool, now: int, config: KeepaliveConfig
) -> tuple[Verdict, int]:
    """What an open connection is due for at tick `now`, and the tick at which to ask again.

    After a ping that is a whole period later: a connection that was last_read in between is not pinged any sooner. Whether
    it was last_read is for `Asked` to find out.
    """
    idle_at = last_message + config.idle if config.idle and not held else FAR
    if now >= idle_at:
        return IDLE, FAR
    next_ping = ping_at(fd, last_read, pinged, config)
    if now >= next_ping:
        return PING, min(now + config.ping, idle_at)
    return NOTHING, min(next_ping, idle_at)


def idle_responsive(
    due: Sequence[int],
    state: Sequence[int],
    last_read: Sequence[int],
    last_message: Sequence[int],
    pinged: Sequence[int],
    now: int,
    config: KeepaliveConfig,
) -> list[int]:
    """Those of `due` that do what nearly all do, nearly always: be open, answer each ping and say nothing else.

    `judge` would say of each: ping, and ask again a whole period later. Here that takes a tenth of the time.
    """
    then, half = now - config.ping, config.ping // 2
    busy = now + config.ping - config.idle if config.idle else 0
    if not config.ping or then <= 0:
        return []
    return [
        fd
        for fd in due
        if pinged[fd] == then <= last_read[fd] < then + half and state[fd] == OPEN and last_message[fd] >= busy
    ]


class PendingPongs:
    """Who was pinged in which tick, for as long as an answer may take: 4 bytes for each.

    All who were pinged in one tick are looked at together, in a bare loop, rather than each on the wheel again: nearly
    all of them have answered.
    """

    def __init__(self, pong: int) -> None:
        self._pong = pong
        self._ticks: deque[tuple[int, array[int]]] = deque()

    def note(self, fd: int, now: int) -> None:
        """`fd` is pinged in tick `now`."""
        if not self._ticks or self._ticks[-1][0] != now:
            self._ticks.append((now, array("I")))
        self._ticks[-1][1].append(fd)

    def note_all(self, fds: Sequence[int], now: int) -> None:
        """All of `fds` are pinged in tick `now`."""
        self._ticks.append((now, array("I", fds)))

    def silent(self, now: int, last_read: Sequence[int], pinged: Sequence[int]) -> list[int]:
        """Those whose time for an answer ends with tick `now`, and who have not been last_read since their ping.

        A descriptor that has a new tenant by now is none of them: its last ping was in another tick, or never.
        Neither is one that has no cells any more.
        """
        found: list[int] = []
        while self._ticks and self._ticks[0][0] + self._pong <= now:
            tick, fds = self._ticks.popleft()
            count = len(last_read)
            found += [fd for fd in fds if fd < count and last_read[fd] < tick == pinged[fd]]
        return found
