"""Sending everybody away before the end, spread over a window, so that no other gateway is met by all at once.

Each peer has its turn: the application may tell it where to go (`Application.on_move`), and the close frame (1012)
follows after a while in which the client can open its new connection and leave by itself (make before break). Few peers
are sent away at a leisurely rate, many as fast as the window demands; what is left of the window is for their closing
handshakes.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.api import Application, Peer
from gateway.links import Links
from wire.clock import Clock
from wire.codes import MOVED

RATE_PER_S = 200
"""Peers sent away in a second, unless the window is too short for that."""

STEP_S = 0.05
"""Between two bunches of peers."""

PACE_SHARE, GRACE_SHARE = 0.5, 0.25
"""Of the window: for everybody's turn, and from a peer's turn to its close frame."""


async def send_away(links: Links, peers: Sequence[Peer], window_s: float, clock: Clock) -> None:
    """Return when every connection is gone, or the window is over."""
    until_s = clock.monotonic() + window_s
    is_told = type(links.app).on_move is not Application.on_move
    turns = max(int(min(window_s * PACE_SHARE, len(peers) / RATE_PER_S) / STEP_S), 1)
    grace = int(window_s * GRACE_SHARE / STEP_S) if is_told else 0
    for step in range(turns + grace):
        if is_told and step < turns:
            for peer in peers[step::turns]:
                _tell(links, peer)
        if step >= grace:
            for peer in peers[step - grace :: turns]:
                peer.close(MOVED)
        if not links.slots.used:
            return
        await clock.sleep(STEP_S)
    while links.slots.used and clock.monotonic() < until_s:
        await clock.sleep(STEP_S)


def _tell(links: Links, peer: Peer) -> None:
    if peer.is_open:
        links.call(peer.fd, links.app.on_move)
