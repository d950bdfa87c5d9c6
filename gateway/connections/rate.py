"""Rate limits: how many events per second each connection may cause, such as messages and pings. Pure.

The state is one number for each file descriptor, in one array. The limit on accepted connections, which is for the
whole gateway, uses only the first entry of such an array.
"""

from __future__ import annotations

from array import array

from roost.gateway.connections.wheel import TICK_S

_GROWTH = 1024


class Rate:
    """At most `per_s` events a second for each descriptor, `burst_s` seconds' worth of them at once; 0 is no limit.

    The generic cell rate algorithm (ITU-T I.371) with one number for each descriptor: the tick at which its bucket is
    empty again.
    """

    def __init__(self, per_s: float, burst_s: float) -> None:
        self.per_s = per_s
        self._step = 1 / (per_s * TICK_S) if per_s else 0.0
        self._depth = burst_s / TICK_S
        self._empty_at = array("d")

    def takes(self, fd: int, now: int) -> bool:
        """Count an event at tick `now`; return False when it exceeds the limit."""
        if not self._step:
            return True
        if fd >= len(self._empty_at):
            self._empty_at.frombytes(bytes(8 * (fd + _GROWTH - len(self._empty_at))))
        empty_at = max(self._empty_at[fd], now)
        if empty_at > now + self._depth:
            return False
        self._empty_at[fd] = empty_at + self._step
        return True

    def would_take(self, fd: int, now: int) -> bool:
        """Whether `takes` would return True; nothing is counted."""
        return not self._step or fd >= len(self._empty_at) or self._empty_at[fd] <= now + self._depth

    def forget(self, fd: int) -> None:
        """Reset `fd`, because its connection is closed."""
        if fd < len(self._empty_at):
            self._empty_at[fd] = 0.0

    def trim(self, count: int) -> None:
        """Free the memory of descriptors from `count` on, none of which is in use."""
        del self._empty_at[count:]
