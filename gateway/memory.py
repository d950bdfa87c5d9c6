"""Memory that the allocator keeps goes back to the system.

What small arrays and strings of a crowd were in is free once the crowd has left, but glibc keeps it while anything
younger lies above it on the heap: 30 bytes for each connection that there ever was at one time. `malloc_trim(3)` gives
whole free pages back wherever they are.
"""

from __future__ import annotations

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Some milliseconds of work, 20 after 4,000 TLS connections. Does nothing where the C library is not glibc."""
    if _trim is not None:
        _trim(0)
