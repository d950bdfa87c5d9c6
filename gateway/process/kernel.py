"""Checks the kernel settings that limit how many connections a gateway can hold.

For 100,000 connections on one machine, most of them idle:

=====================================  =========  ==========================================================
setting                                value      why
=====================================  =========  ==========================================================
``ulimit -n``, ``fs.nr_open``          110000     one descriptor each, and the reserve; per process
``fs.file-max``                        500000     descriptors of the whole machine
``net.core.somaxconn``                 4096       limits the backlog, which fills when many clients reconnect
``net.ipv4.tcp_max_syn_backlog``       4096       connections in their TCP handshake; not checked, because
                                                  SYN cookies, which are usually enabled, handle the excess
``net.netfilter.nf_conntrack_max``     500000     only where a firewall tracks connections: a full table
                                                  drops new connections silently
``net.ipv4.tcp_mem``                   (default)  idle sockets hold no buffers; about 5 KB of kernel each
=====================================  =========  ==========================================================

At startup, one warning is logged for each of `net.core.somaxconn`, `fs.nr_open`, `fs.file-max` and
`net.netfilter.nf_conntrack_max` that is too small for this process. `roost.gateway.settings.capacity` checks
``ulimit -n``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

Reader = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class Shortage:
    """A kernel setting that is too small, and the effect of that."""

    setting: str
    value: int
    wanted: int
    effect: str


_CHECKS = (
    ("net.core.somaxconn", "backlog", "the backlog is cut to it, and a burst of new connections is dropped"),
    ("fs.nr_open", "capacity", "no process can have more descriptors"),
    ("fs.file-max", "capacity", "the machine runs out of descriptors"),
    ("net.netfilter.nf_conntrack_max", "capacity", "the firewall's table fills up and drops new connections"),
)


def shortages(backlog: int, capacity: int, read: Reader) -> list[Shortage]:
    """Return the settings too small for this backlog and capacity. `read` returns a setting's value, or None."""
    wanted = {"backlog": backlog, "capacity": capacity}
    found = []
    for setting, measure, effect in _CHECKS:
        value = read(setting)
        if value is not None and value < wanted[measure]:
            found.append(Shortage(setting, value, wanted[measure], effect))
    return found


def read_setting(name: str) -> int | None:
    """Return the running kernel's value; None where it has no such setting."""
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def warn(backlog: int, capacity: int, read: Reader = read_setting) -> None:
    """Log a warning for each setting that is too small."""
    for short in shortages(backlog, capacity, read):
        fields = {"setting": short.setting, "value": short.value, "wanted": short.wanted, "effect": short.effect}
        log.warning("kernel setting too small", extra={"action": "kernel_setting", **fields})
