"""Computes how much memory is available for more connections, and returns freed memory to the system.

Available memory is what the kernel reports as usable without swapping (MemAvailable in proc_meminfo(5)). Where a
control group limits this process, it is at most the group's limit minus the group's usage. Cached files do not count as
usage, because the kernel can reclaim them (memory.max, memory.current and inactive_file of memory.stat, "Control Group
v2" in the kernel's documentation; version 1 likewise). A small share of the total is kept free. Several gateways on one
machine see the same memory, and each of them reports less as it is used.

After many connections have closed, the memory of their small arrays and strings is free, but glibc keeps it while any
newer allocation lies above it on the heap. That is 30 bytes for each connection that was open at the busiest moment.
`malloc_trim(3)` returns whole free pages wherever they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

CONNECTION_BYTES = 8 * 1024
"""Estimate per connection. An idle one takes 5 KB in the kernel and 0.2 KB here; some are not idle."""

TLS_BYTES = 17 * 1024
"""Additional memory of a TLS connection (`python -m bench hold`)."""

KEPT_SHARE = 0.05
"""Share of all memory that is kept free for everything else."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Return free memory to the system (malloc_trim). Does nothing where the C library is not glibc.

    Takes some milliseconds: 20 after 4,000 TLS connections.
    """
    if _trim is not None:
        _trim(0)


def spare_bytes(root: Path = Path("/")) -> int:
    """Return the bytes that connections can still use, at least 0; very large where the system does not report it."""
    return max(0, min(_spares(root), default=2**62))


def _spares(root: Path) -> Iterator[int]:
    """Yield, for each limit, what is left of it, less the share that is kept free."""
    meminfo = _numbers(root / "proc/meminfo")
    if "MemAvailable" in meminfo:
        yield (meminfo["MemAvailable"] - int(meminfo["MemTotal"] * KEPT_SHARE)) * 1024
    groups = root / "sys/fs/cgroup"
    for folder, limit, used, cached in (
        (groups, "memory.max", "memory.current", "inactive_file"),
        (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        total, taken = _number(folder / limit), _number(folder / used)
        if total is not None and taken is not None:
            yield total - taken + _numbers(folder / "memory.stat").get(cached, 0) - int(total * KEPT_SHARE)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # the file is missing, or contains "max"
        return None


def _numbers(file: Path) -> dict[str, int]:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
