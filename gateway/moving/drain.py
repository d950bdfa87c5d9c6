"""Drains a gateway: moves or closes all clients, spread over a window so that other gateways are not overloaded.

Each peer has its turn. If discovery reserved an endpoint for it at another gateway, the application tells the peer
where to go (`Application.on_move`). The close frame (1012) follows later, so that the client can first open its new
connection and leave by itself (make before break). A peer without an endpoint, or whose application cannot tell it, is
closed at its turn and asks discovery itself. A peer in the middle of a message waits until the message is complete or
the window ends. A small number of peers is drained at a fixed rate, a large number as fast as the window requires; the
rest of the window is for closing handshakes.
"""

from __future__ import annotations

from array import array
from collections import deque

from roost.gateway.api import Peer
from roost.gateway.connections.slots import OPEN
from roost.gateway.io.writer import ConnectionWriter
from roost.gateway.moving.endpoints import BATCH_COUNT, EndpointPool
from roost.wire.clock import Clock
from roost.wire.codes import MOVED

RATE_PER_S = 200
"""Peers per second, unless the window requires more."""

STEP_S = 0.05
"""Interval between two groups of peers."""

PACE_SHARE, GRACE_SHARE, BUSY_SHARE = 0.5, 0.25, 0.85
"""Shares of the window.

All turns are within the first one. The second lies between a peer's turn and its close frame. After the third, busy
peers are closed, too.
"""

LATE_S = 0.5
"""Time for closing handshakes of peers closed last: half of what the process has left after the window."""

PAUSE_STEPS = 10
"""Steps before endpoints are requested again when there were none."""


async def send_away(writer: ConnectionWriter, endpoints: EndpointPool, window_s: float, clock: Clock) -> None:
    """Drain all connections; return when none is left or the window is over.

    If the process was suspended, the window may be over before every peer had its turn. The remaining peers then get
    the same close frame, and `LATE_S` for their closing handshakes.
    """
    begun_s = clock.monotonic()
    drain = _Drain(writer, endpoints, window_s)
    step = 0
    while writer.slots.used and (step == 0 or step * STEP_S < window_s):
        await drain.run_step(step)
        await clock.sleep(STEP_S)
        step = max(step + 1, int((clock.monotonic() - begun_s) / STEP_S))
    if drain.close_rest():
        late_until = clock.monotonic() + LATE_S
        while writer.slots.used and clock.monotonic() < late_until:
            await clock.sleep(STEP_S)
    endpoints.clear()


class _Drain:
    """One drain in steps; skipped steps are made up for in the next one."""

    def __init__(self, writer: ConnectionWriter, endpoints: EndpointPool, window_s: float) -> None:
        slots = writer.slots
        self._writer, self._endpoints = writer, endpoints
        self._fds = array("i", (fd for fd in range(len(slots)) if slots.state[fd] == OPEN))
        self._generations = array("I", (slots.generation[fd] for fd in self._fds))
        self._turn_steps = max(int(min(window_s * PACE_SHARE, len(self._fds) / RATE_PER_S) / STEP_S), 1)
        self._grace_steps = int(window_s * GRACE_SHARE / STEP_S)
        self._last_step = int(window_s * BUSY_SHARE / STEP_S)
        self._turn_count = 0
        """Number of peers that have had their turn."""
        self._busy: list[Peer] = []
        self._moving: deque[tuple[int, Peer]] = deque()
        """Peers that were told to move, with the step at which they are closed."""
        self._reserve_at_step = 0
        """First step at which endpoints may be requested again."""

    async def run_step(self, step: int) -> None:
        """Move or close the peers whose turn has come."""
        ready, self._busy = self._busy, []
        due = min(len(self._fds) * (step + 1) // self._turn_steps, len(self._fds))
        ready += [Peer(self._writer, self._fds[i], self._generations[i]) for i in range(self._turn_count, due)]
        self._turn_count = due
        await self._reserve(step, len(ready))
        for index, peer in enumerate(ready):
            if peer.is_open:
                self._send_away(peer, step, STEP_S * index / len(ready))
        while self._moving and self._moving[0][0] <= step:
            self._moving.popleft()[1].close(MOVED)

    def close_rest(self) -> bool:
        """Close all peers that are still open; return whether there were any."""
        rest = [
            peer
            for fd, generation in zip(self._fds, self._generations, strict=True)
            if (peer := Peer(self._writer, fd, generation)).is_open
        ]
        for peer in rest:
            peer.close(MOVED)
        return bool(rest)

    async def _reserve(self, step: int, count: int) -> None:
        """Have `count` endpoints reserved, and some more for the next peers."""
        endpoints = self._endpoints
        if count > endpoints.available_count and step >= self._reserve_at_step:
            ahead = min(len(self._fds) - self._turn_count, BATCH_COUNT)
            await endpoints.reserve(count + ahead, is_leaving=True)
            if endpoints.available_count < count:
                self._reserve_at_step = step + PAUSE_STEPS

    def _send_away(self, peer: Peer, step: int, after_s: float) -> None:
        if step < self._last_step and self._endpoints.is_busy(peer):
            self._busy.append(peer)
        elif not self._endpoints.available_count or step >= self._last_step:
            peer.close(MOVED)
        elif self._endpoints.move(peer, after_s):
            self._moving.append((step + self._grace_steps, peer))
        else:
            self._busy.append(peer)
