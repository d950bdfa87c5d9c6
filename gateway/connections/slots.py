"""The connection table: arrays indexed by file descriptor, so that a connection costs cells, not objects.

The kernel hands out the lowest free descriptor, so the arrays are dense. A descriptor's number comes back at once
for the next connection, therefore each slot counts its tenants: a handle names (fd, generation), and whoever
holds the generation of a tenant that has left is recognised as stale.

Times are ticks of the timing wheel (`roost.gateway.connections.wheel`), never 0 for something that has happened.
"""

from __future__ import annotations

from array import array

FREE = 0
"""No connection here."""
HANDSHAKE = 1
"""Accepted; its opening handshake is under way."""
OPEN = 2
"""Messages flow."""
CLOSING = 3
"""Our close frame is sent or waits in the outbox; the peer's is awaited."""
HALF_CLOSED = 4
"""Everything is said and our side is shut; input is thrown away until the peer closes, so that no reset
overtakes our last words (RFC 9112 section 9.6)."""
CLOSED = 5
"""Dead; its slot is free as soon as the application has been told."""

STATES = (FREE, HANDSHAKE, OPEN, CLOSING, HALF_CLOSED, CLOSED)

FINISH = 1
"""Flag: shut our side as soon as the outbox is empty."""
OVER_CAPACITY = 2
"""Flag: accepted beyond the capacity, only to be told so."""
OVER_ADDRESS_LIMIT = 4
"""Flag: accepted beyond what its address may have, only to be told so."""

WINDOW_SHIFT = 4
"""The upper half of the flags: window size of agreed compression (9 to 15), 0 without it."""

MAX_HOLDS = 0xFFFF
_GROWTH = 1024


class ConnectionSlots:
    """All state of a connection at rest: 39 bytes of cells.

    What every message looks at or writes is in lists, which are read in half the time of arrays and written in a third:
    4 % of what an echo costs. Their cells are references, to integers that many slots share.
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
        """Slots that are not free."""
        self._new_generation = 0
        """What a new cell begins with: no less than any that was ever cut off."""

    def __len__(self) -> int:
        return len(self.state)

    def allocate(self, fd: int, tick: int) -> int:
        """Give `fd` to a new connection in state GREETING; its generation."""
        if fd >= len(self.state):
            self._grow(fd + 1)
        assert self.state[fd] == FREE, "a descriptor came back before its slot was freed"
        self.state[fd] = HANDSHAKE
        self.flags[fd] = self.idle_holds[fd] = self.pinged[fd] = 0
        self.last_read[fd] = self.last_message[fd] = tick
        self.generation[fd] = generation = self.generation[fd] % 0xFFFFFFFF + 1
        self.used += 1
        return generation

    def free(self, fd: int) -> None:
        """The connection is over; handles of it are stale from here on."""
        assert self.state[fd] != FREE, "freed twice"
        self.state[fd] = FREE
        self.used -= 1

    def trim(self) -> bool:
        """Give memory back when a crowd has left; True when there are fewer slots now.

        Each time at least half of the slots go, and three quarters must be free, so that they do not come back with the
        next few connections. It looks through the slots, up to 0.5 ms: not for every connection that leaves.
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
        """Whether these two name a connection that messages can be sent to."""
        try:
            return self.generation[fd] == generation and self.state[fd] == OPEN and fd >= 0
        except IndexError:
            return False

    def hold(self, fd: int, change: int) -> None:
        """Add `change` to the holds, within 0 and MAX_HOLDS; at MAX_HOLDS they are never taken back."""
        if self.idle_holds[fd] < MAX_HOLDS:
            self.idle_holds[fd] = min(max(self.idle_holds[fd] + change, 0), MAX_HOLDS)

    def _grow(self, size: int) -> None:
        more = -(-size // _GROWTH) * _GROWTH - len(self.state)
        self.generation.extend([self._new_generation] * more)
        for numbers in (self.state, self.last_read, self.last_message):
            numbers.extend([0] * more)
        for cells in (self.flags, self.idle_holds, self.pinged):
            cells.frombytes(bytes(more * cells.itemsize))
