"""What a slow peer has not taken yet: whole frames in order, bounded by bytes and by age. Pure.

Only a peer whose socket buffer is full has one. The first piece may be the rest of a frame that the kernel took in
part; it must be finished before anything else may follow, even a close frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Outbox:
    """Unsent pieces, oldest first, each with the tick at which it was put in."""

    __slots__ = ("_pieces", "_sent", "byte_count")

    def __init__(self, piece: bytes, sent: int, tick: int) -> None:
        """Begin with a frame of which the first `sent` bytes are gone."""
        self._pieces: deque[tuple[bytes, int]] = deque(((piece, tick),))
        self._sent = sent
        self.byte_count = len(piece) - sent

    def put(self, piece: bytes, tick: int) -> None:
        """Add a whole frame."""
        self._pieces.append((piece, tick))
        self.byte_count += len(piece)

    def oldest(self) -> int:
        """The tick at which the oldest piece was put in. Not to be asked of an empty outbox."""
        return self._pieces[0][1]

    def flush(self, write: Callable[[memoryview], int]) -> bool:
        """Give pieces to `write` until it takes less than a whole one; True when all are gone.

        `write` returns how many bytes it took, -1 when there is no room; its errors pass through. An empty piece is
        given to it, too: it stands for bytes that a transport has taken but could not send.
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
        """Throw away every frame of which nothing was sent."""
        while len(self._pieces) > (1 if self._sent else 0):
            self.byte_count -= len(self._pieces.pop()[0])
