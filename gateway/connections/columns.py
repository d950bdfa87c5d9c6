"""An array with a fixed number of bytes for each connection, indexed by file descriptor.

Applications that keep a small state for each client create such an array with `Gateway.cells`. One Python object for
each client would take more memory than the connection itself.
"""

from __future__ import annotations


class Cells:
    """`width_bytes` bytes for each file descriptor, zero until set; grows with the highest descriptor used.

    Applications create them in `start` with `Gateway.cells`; the gateway then shrinks them when most connections have
    left.
    """

    def __init__(self, width_bytes: int) -> None:
        self._width = width_bytes
        self._zero = bytes(width_bytes)
        self._memory = bytearray()

    def __getitem__(self, fd: int) -> bytes:
        start = fd * self._width
        return bytes(self._memory[start : start + self._width]) or self._zero

    def __setitem__(self, fd: int, value: bytes) -> None:
        """Raises ValueError when `value` is not exactly `width_bytes` long."""
        if len(value) != self._width:
            raise ValueError(f"{len(value)} bytes in a cell of {self._width}")
        start = fd * self._width
        missing = start + self._width - len(self._memory)
        if missing > 0:
            self._memory.extend(bytes(missing))
        self._memory[start : start + self._width] = value

    def __delitem__(self, fd: int) -> None:
        """Set the cell to zero."""
        if fd * self._width < len(self._memory):
            self[fd] = self._zero

    def trim(self, count: int) -> None:
        """Keep only the cells of the first `count` descriptors; the others read as zero."""
        del self._memory[count * self._width :]
