"""The connection table: arrays indexed by file descriptor, so that a connection costs array cells, not objects.

The kernel assigns the lowest free descriptor, so the arrays are dense. It reuses a closed descriptor's number at once;
therefore each slot has a generation, which is incremented for every new connection. A handle consists of (fd,
generation), and a handle with an old generation is recognised as stale.

Times are ticks of the timing wheel (`roost.gateway.connections.wheel`), never 0 for something that has happened.
"""

from __future__ import annotations

from array import array

FREE = 0
"""No connection here."""
HANDSHAKE = 1
"""Accepted; the opening handshake is in progress."""
OPEN = 2
"""The handshake is complete; messages can be sent and received."""
CLOSING = 3
"""Our close frame is sent or waits in the outbox; the peer's has not arrived yet."""
HALF_CLOSED = 4
"""Everything is sent and our side is shut down. Input is discarded until the peer closes its side: closing earlier
could send a reset that overtakes our last bytes (RFC 9112 section 9.6)."""
CLOSED = 5
"""Closed; the slot becomes free after `on_close` was called."""

STATES = (FREE, HANDSHAKE, OPEN, CLOSING, HALF_CLOSED, CLOSED)

FINISH = 1
"""Flag: shut down our side as soon as the outbox is empty."""
OVER_CAPACITY = 2
"""Flag: accepted beyond the capacity, only to be refused with an HTTP answer."""
OVER_ADDRESS_LIMIT = 4
"""Flag: accepted beyond the limit of its address, only to be refused with an HTTP answer."""

WINDOW_SHIFT = 4
"""The upper half of the flags is the window size of the agreed compression (9 to 15 bits), 0 without compression."""

MAX_HOLDS = 0xFFFF
_GROWTH = 1024


class ConnectionSlots:
    """The entire state of an idle connection: 39 bytes of cells.

    Columns that every message uses are lists: reading a list takes half the time of an array and writing a third, which
    is 4 % of an echo's cost. The cells of a list are references to integers that many slots share.
    """

    def __init__(self) -> None:
        self.generation: list[int] = []
        self.state: list[int] = []
        self.last_read: list[int] = []
        self.last_message: list[int] = []
        self.flags = array("B")
        self.idle_holds = array("H")
        self.pinged = array("I")
        self.used = 0
        """Number of slots that are not free."""
        self._new_generation = 0
        """Initial generation of new cells: at least the highest generation ever cut off, so old handles stay stale."""

    def __len__(self) -> int:
        return len(self.state)

    def allocate(self, fd: int, tick: int) -> int:
        """Assign slot `fd` to a new connection in state HANDSHAKE; return its generation."""
        if fd >= len(self.state):
            self._grow(fd + 1)
        assert self.state[fd] == FREE, "a descriptor was reused before its slot was freed"
        self.state[fd] = HANDSHAKE
        self.flags[fd] = self.idle_holds[fd] = self.pinged[fd] = 0
        self.last_read[fd] = self.last_message[fd] = tick
        self.generation[fd] = generation = self.generation[fd] % 0xFFFFFFFF + 1
        self.used += 1
        return generation

    def free(self, fd: int) -> None:
        """Free the slot; handles of the connection are stale from now on."""
        assert self.state[fd] != FREE, "freed twice"
        self.state[fd] = FREE
        self.used -= 1

    def trim(self) -> bool:
        """Shrink the table after most connections have left; return True when it was shrunk.

        It shrinks by at least half, and only if three quarters are free, so that it does not grow again with the next
        few connections. The scan takes up to 0.5 ms, so it must not be called for every connection that closes.
        """
        size = len(self.state)
        if size <= _GROWTH or self.used * 4 > size:
            return False
        last = next((fd for fd in range(size - 1, -1, -1) if self.state[fd] != FREE), -1)
        kept = (last // _GROWTH + 1) * _GROWTH
        if kept * 2 > size:
            return False
        self._new_generation = max(self._new_generation, *self.generation[kept:])
        for cells in (
            self.generation,
            self.state,
            self.last_read,
            self.last_message,
            self.flags,
            self.idle_holds,
            self.pinged,
        ):
            del cells[kept:]
        return True

    def is_open(self, fd: int, generation: int) -> bool:
        """Whether these two integers name a connection to which messages can be sent."""
        try:
            return self.generation[fd] == generation and self.state[fd] == OPEN and fd >= 0
        except IndexError:
            return False

    def hold(self, fd: int, change: int) -> None:
        """Add `change` to the idle holds, within 0 and MAX_HOLDS; a count that reached MAX_HOLDS stays there."""
        if self.idle_holds[fd] < MAX_HOLDS:
            self.idle_holds[fd] = min(max(self.idle_holds[fd] + change, 0), MAX_HOLDS)

    def _grow(self, size: int) -> None:
        more = -(-size // _GROWTH) * _GROWTH - len(self.state)
        self.generation.extend([self._new_generation] * more)
        for numbers in (self.state, self.last_read, self.last_message):
            numbers.extend([0] * more)
        for cells in (self.flags, self.idle_holds, self.pinged):
            cells.frombytes(bytes(more * cells.itemsize))
