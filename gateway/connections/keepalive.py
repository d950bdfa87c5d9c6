"""Decides which keepalive action is due for a connection: a ping, an idle close, or none. Pure.

The input is the current tick and the connection's entries in the connection table (`roost.gateway.connections.slots`).
`ping`, `pong` and `idle` are settings in ticks (`KeepaliveConfig`).

Liveness and activity are measured separately. Any byte from the peer shows that it is alive: after `ping` ticks without
input it is pinged, and after `pong` more ticks without input it is closed (4201). Only messages, in either direction,
count as activity: after `idle` ticks without a message the client is closed (4300), unless the application has called
`Peer.hold` for it.

Pings must not come in bursts, even when ten thousand clients connect in one second or all answer one broadcast.
Therefore pings are due at ticks that depend on the file descriptor:

- The first ping is due at the next tick with ``tick % ping == fd % ping``.
- After input, the next ping is due between half a period and one period (`ping` ticks) later, at the tick with
  ``tick % half == fd % half``.

So a client that only answers pings is pinged exactly once in each period, always at the same offset. A client that
sends something at least every half period is not pinged again after its first ping.
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
    """Action for a connection whose deadline has come."""

    NOTHING = "nothing"
    PING = "ping"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class KeepaliveConfig:
    """Keepalive settings in ticks; 0 is never. `ping` is even, so that a silent connection keeps its phase."""

    ping: int
    pong: int
    idle: int

    @classmethod
    def of(cls, settings: Settings) -> KeepaliveConfig:
        ping = ticks(settings.ping_after_s)
        return cls(ping=ping + ping % 2, pong=ticks(settings.pong_within_s), idle=ticks(settings.idle_close_s))


NOTHING, PING, IDLE = Verdict.NOTHING, Verdict.PING, Verdict.IDLE
"""Module-level aliases, because access to enum members is slow and these are used thousands of times a second."""

FAR = 0xFFFFFFFF
"""No deadline."""


def ping_at(fd: int, last_read: int, pinged: int, config: KeepaliveConfig) -> int:
    """Return the tick of the next ping. `last_read` and `pinged` are ticks; `pinged` is 0 before the first ping."""
    if not config.ping:
        return FAR
    if not pinged:
        return last_read + 1 + (fd - last_read - 1) % config.ping
    half = config.ping // 2
    if 0 <= last_read - pinged < half:
        return pinged + config.ping  # the common case; the same result in fewer steps
    earliest = last_read + half + 1
    return earliest + (fd - earliest) % half


def next_action(
    fd: int, last_read: int, last_message: int, pinged: int, held: bool, now: int, config: KeepaliveConfig
) -> tuple[Verdict, int]:
    """Return what to do with an open connection at tick `now`, and the tick of its next deadline.

    After a ping the next deadline is one period later: input in between does not bring the next ping forward.
    `PendingPongs` checks whether there was input.
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
    """Return those of `due` that are open, answered their last ping and send nothing else, as most connections do.

    For each of them `next_action` would return PING and a deadline one period later. This takes a tenth of the time.
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
    """The connections that were pinged in each tick, until their time for an answer is over: 4 bytes for each.

    All connections pinged in one tick are checked together in one loop instead of one wheel entry for each: nearly all
    of them have answered.
    """

    def __init__(self, pong: int) -> None:
        self._pong = pong
        self._ticks: deque[tuple[int, array[int]]] = deque()

    def note(self, fd: int, now: int) -> None:
        """Record that `fd` was pinged in tick `now`."""
        if not self._ticks or self._ticks[-1][0] != now:
            self._ticks.append((now, array("I")))
        self._ticks[-1][1].append(fd)

    def note_all(self, fds: Sequence[int], now: int) -> None:
        """Record that all of `fds` were pinged in tick `now`."""
        self._ticks.append((now, array("I", fds)))

    def silent(self, now: int, last_read: Sequence[int], pinged: Sequence[int]) -> list[int]:
        """Return the connections whose time for an answer ends with tick `now` and that sent nothing since their ping.

        A descriptor that was reused since is not among them: its last ping was in another tick, or never. Neither is
        one beyond the end of the table.
        """
        found: list[int] = []
        while self._ticks and self._ticks[0][0] + self._pong <= now:
            tick, fds = self._ticks.popleft()
            count = len(last_read)
            found += [fd for fd in fds if fd < count and last_read[fd] < tick == pinged[fd]]
        return found
