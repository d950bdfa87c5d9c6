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

from dataclasses import dataclass
from enum import Enum

from gateway.settings import Settings
from gateway.wheel import ticks


class Verdict(Enum):
    """What to do with a connection whose deadline has come."""

    NOTHING = "nothing"
    PING = "ping"
    NO_PONG = "no pong"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The settings in ticks; `ping` is even, so that a silent connection keeps its phase. 0 is never."""

    ping: int
    pong: int
    idle: int

    @classmethod
    def of(cls, settings: Settings) -> Rhythm:
        ping = ticks(settings.ping_after_s)
        return cls(ping=ping + ping % 2, pong=ticks(settings.pong_within_s), idle=ticks(settings.idle_close_s))


FAR = 0xFFFFFFFF
"""No deadline."""


def ping_at(fd: int, heard: int, pinged: int, rhythm: Rhythm) -> int:
    """The tick of the next ping of a connection last heard at `heard` and last pinged at `pinged` (0: never)."""
    if not rhythm.ping:
        return FAR
    if not pinged:
        return heard + 1 + (fd - heard - 1) % rhythm.ping
    half = rhythm.ping // 2
    earliest = heard + half + 1
    return earliest + (fd - earliest) % half


def judge(fd: int, heard: int, active: int, pinged: int, held: bool, now: int, rhythm: Rhythm) -> tuple[Verdict, int]:
    """What an open connection is due for at tick `now`, and the tick at which to ask again."""
    idle_at = active + rhythm.idle if rhythm.idle and not held else FAR
    if now >= idle_at:
        return Verdict.IDLE, FAR
    if heard < pinged:
        if now >= pinged + rhythm.pong:
            return Verdict.NO_PONG, FAR
        return Verdict.NOTHING, min(pinged + rhythm.pong, idle_at)
    next_ping = ping_at(fd, heard, pinged, rhythm)
    if now >= next_ping:
        return Verdict.PING, min(now + rhythm.pong, idle_at)
    return Verdict.NOTHING, min(next_ping, idle_at)
