"""Sending everybody away before the end, spread over a window, so that no other gateway is met by all at once.

Each peer has its turn: where discovery has a place for it at another gateway, the application tells it where to go
(`Application.on_move`), and the close frame (1012) follows after a while in which the client can open its new
connection and leave by itself (make before break). A peer for which there is no place, or whose application cannot tell
it, is closed when its turn comes, and asks discovery itself. One that is in the middle of something is left alone until
it is through, or the window ends. Few peers are sent away at a leisurely rate, many as fast as the window demands; what
is left of the window is for their closing handshakes.
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
"""Peers sent away in a second, unless the window is too short for that."""

STEP_S = 0.05
"""Between two bunches of peers."""

PACE_SHARE, GRACE_SHARE, BUSY_SHARE = 0.5, 0.25, 0.85
"""Of the window: for everybody's turn, from a peer's turn to its close frame, and until the busy are closed, too."""

LATE_S = 0.5
"""Half of what the process has between the end of the window and its own."""

PAUSE_STEPS = 10
"""Where there is no place, others are asked for again after so many steps."""


async def send_away(links: ConnectionWriter, moves: EndpointPool, window_s: float, clock: Clock) -> None:
    """Return when every connection is gone, or the window is over.

    A process that was kept from running may find the window over before everybody had their turn. These peers get the
    same close frame then, and `LATE_S` for their closing handshakes.
    """
    begun_s = clock.monotonic()
    leaving = _Leaving(links, moves, window_s)
    step = 0
    while links.slots.used and (step == 0 or step * STEP_S < window_s):
        await leaving.go_on(step)
        await clock.sleep(STEP_S)
        step = max(step + 1, int((clock.monotonic() - begun_s) / STEP_S))
    if leaving.close_rest():
        late_until = clock.monotonic() + LATE_S
        while links.slots.used and clock.monotonic() < late_until:
            await clock.sleep(STEP_S)
    moves.drop_stock()


class _Leaving:
    """One drain, step by step; a step that is skipped is made up for in the next."""

    def __init__(self, links: ConnectionWriter, moves: EndpointPool, window_s: float) -> None:
        slots = links.slots
        self._links, self._moves = links, moves
        self._fds = array("i", (fd for fd in range(len(slots)) if slots.state[fd] == OPEN))
        self._generations = array("I", (slots.generation[fd] for fd in self._fds))
        self._turn_steps = max(int(min(window_s * PACE_SHARE, len(self._fds) / RATE_PER_S) / STEP_S), 1)
        self._grace_steps = int(window_s * GRACE_SHARE / STEP_S)
        self._last_step = int(window_s * BUSY_SHARE / STEP_S)
        self._done = 0
        """Peers that have had their turn."""
        self._busy: list[Peer] = []
        self._told: deque[tuple[int, Peer]] = deque()
        """When they are closed, and who."""
        self._places_at = 0
        """The step from which on places are asked for."""

    async def go_on(self, step: int) -> None:
        """Give those whose turn has come by now their place or their close frame."""
        ready, self._busy = self._busy, []
        due = min(len(self._fds) * (step + 1) // self._turn_steps, len(self._fds))
        ready += [Peer(self._links, self._fds[i], self._generations[i]) for i in range(self._done, due)]
        self._done = due
        await self._stock(step, len(ready))
        for index, peer in enumerate(ready):
            if peer.is_open:
                self._send_away(peer, step, STEP_S * index / len(ready))
        while self._told and self._told[0][0] <= step:
            self._told.popleft()[1].close(MOVED)

    def close_rest(self) -> bool:
        """Close those who are still open; whether there were any."""
        rest = [
            peer
            for fd, generation in zip(self._fds, self._generations, strict=True)
            if (peer := Peer(self._links, fd, generation)).is_open
        ]
        for peer in rest:
            peer.close(MOVED)
        return bool(rest)

    async def _stock(self, step: int, count: int) -> None:
        """Have places for so many, reserved with some for those who come next."""
        moves = self._moves
        if count > moves.place_count and step >= self._places_at:
            ahead = min(len(self._fds) - self._done, BATCH_COUNT)
            await moves.stock(count + ahead, is_leaving=True)
            if moves.place_count < count:
                self._places_at = step + PAUSE_STEPS

    def _send_away(self, peer: Peer, step: int, after_s: float) -> None:
        if step < self._last_step and self._moves.is_busy(peer):
            self._busy.append(peer)
        elif not self._moves.place_count or step >= self._last_step:
            peer.close(MOVED)
        elif self._moves.tell(peer, after_s):
            self._told.append((step + self._grace_steps, peer))
        else:
            self._busy.append(peer)
