"""How much memory is left for more connections; and what the allocator keeps goes back to the system.

Left is what the kernel says could be had without swapping (MemAvailable in proc_meminfo(5)), or less where a control
group limits this process: its limit less what it has, but for cached files, which the kernel gives up (memory.max,
memory.current and inactive_file of memory.stat, "Control Group v2" in the kernel's documentation; version 1 likewise).
Several gateways of one machine see the same memory; each reports less as it goes.

What small arrays and strings of a crowd were in is free once the crowd has left, but glibc keeps it while anything
younger lies above it on the heap: 30 bytes for each connection that there ever was at one time. `malloc_trim(3)` gives
whole free pages back wherever they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

CONNECTION_BYTES = 8 * 1024
"""An idle connection has 5 KB in the kernel and 0.2 here; some of them are not idle."""

TLS_BYTES = 17 * 1024
"""What TLS adds (`python -m bench hold`)."""

KEPT_SHARE = 0.05
"""Of all memory, for everything else."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Some milliseconds of work, 20 after 4,000 TLS connections. Does nothing where the C library is not glibc."""
    if _trim is not None:
        _trim(0)


def spare_bytes(root: Path = Path("/")) -> int:
    """Memory that may still be used for connections, at least 0; very much where the system does not say."""
    return max(0, min(_spares(root), default=2**62))


def _spares(root: Path) -> Iterator[int]:
    """By each limit: what is left of it, less the share that is kept."""
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
    except (OSError, ValueError):  # there is none, or it says "max"
        return None


def _numbers(file: Path) -> dict[str, int]:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
