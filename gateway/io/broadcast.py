"""Sends one frame to many peers in slices, so that other connections are served in between."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from roost.gateway.api import Frame, Peer
from roost.gateway.io.writer import ConnectionWriter
from roost.wire.errors import Misuse

log = logging.getLogger(__name__)

SLICE_COUNT = 500
"""Peers in one slice: 2 to 3 ms, most of it in system calls."""


class Broadcast:
    """Queue of broadcasts in progress; they are sent in the order in which they were added."""

    def __init__(self, writer: ConnectionWriter) -> None:
        self._writer = writer
        self._waiting: deque[tuple[Frame, Iterator[Peer]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, frame: Frame, peers: Iterable[Peer]) -> None:
        """Send `frame` to `peers`, starting in the next turn of the event loop. Raises Misuse before `start`."""
        if self._loop is None:
            raise Misuse("the gateway has not started")
        if not self._waiting:
            self._loop.call_soon(self._send_slice)
        self._waiting.append((frame, iter(tuple(peers))))

    def _send_slice(self) -> None:
        assert self._loop is not None
        frame, peers = self._waiting[0]
        sent = 0
        self._writer.cork()
        try:
            for peer in islice(peers, SLICE_COUNT):
                peer.send_frame(frame)
                sent += 1
        except Exception:  # an element is not a Peer; continue with the other broadcasts
            log.exception("broadcast failed", extra={"action": "broadcast_failed"})
            sent = 0
        finally:
            self._writer.uncork()
        if sent < SLICE_COUNT:
            self._waiting.popleft()
        if self._waiting:
            self._loop.call_soon(self._send_slice)
