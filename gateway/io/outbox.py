"""Frames that wait for a slow peer, in order. The caller limits their total size and age. Pure.

Only a connection whose socket buffer is full has an outbox. Its first piece may be a frame of which the kernel took a
part; the rest must be written before anything else, including a close frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Outbox:
    """Unsent pieces, oldest first, each with the tick at which it was put in."""

    __slots__ = ("_pieces", "_sent", "byte_count")

    def __init__(self, piece: bytes, sent: int, tick: int) -> None:
        """Start with a frame whose first `sent` bytes were already written."""
        self._pieces: deque[tuple[bytes, int]] = deque(((piece, tick),))
        self._sent = sent
        self.byte_count = len(piece) - sent

    def put(self, piece: bytes, tick: int) -> None:
        """Append whole frames that were queued at `tick`."""
        self._pieces.append((piece, tick))
        self.byte_count += len(piece)

    def oldest(self) -> int:
        """Return the tick at which the oldest piece was queued. The outbox must not be empty."""
        return self._pieces[0][1]

    def flush(self, write: Callable[[memoryview], int]) -> bool:
        """Pass pieces to `write` until it takes less than a whole one; return True when the outbox is empty.

        `write` returns how many bytes it took, or -1 when the socket buffer is full; its exceptions are passed on.
        It is also called with an empty piece, which stands for bytes that the transport buffers but could not send.
        """
        while self._pieces:
            piece = self._pieces[0][0]
            taken = write(memoryview(piece)[self._sent :])
            if taken < 0:
                return False
            self._sent += taken
            self.byte_count -= taken
            if self._sent < len(piece):
                return False
            self._pieces.popleft()
            self._sent = 0
        return True

    def drop_unstarted(self) -> None:
        """Discard every frame of which no byte was written."""
        while len(self._pieces) > (1 if self._sent else 0):
            self.byte_count -= len(self._pieces.pop()[0])
