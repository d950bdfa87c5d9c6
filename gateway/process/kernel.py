"""Kernel settings that decide how many connections a gateway can hold, compared with what it is asked to hold.

For 100,000 connections on one machine, most of them idle:

=====================================  =========  ==========================================================
setting                                value      why
=====================================  =========  ==========================================================
``ulimit -n``, ``fs.nr_open``          110000     one descriptor each, and the reserve; per process
``fs.file-max``                        500000     descriptors of the whole machine
``net.core.somaxconn``                 4096       cuts the backlog; a crowd that comes back fills it
``net.ipv4.tcp_max_syn_backlog``       4096       connections whose TCP handshake is under way; not checked,
                                                  as SYN cookies, which are usual, take what goes beyond it
``net.netfilter.nf_conntrack_max``     500000     only where a firewall tracks connections: a full table
                                                  drops new ones without a word
``net.ipv4.tcp_mem``                   (default)  idle sockets hold no buffers; about 5 KB of kernel each
=====================================  =========  ==========================================================

The others are checked at the start, and each that is too small for this process is one line in the log.
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
    """A setting that is smaller than it should be, and what that does."""

    setting: str
    value: int
    wanted: int
    effect: str


_CHECKS = (
    ("net.core.somaxconn", "backlog", "the backlog is cut to it, and a crowd that connects at once is turned away"),
    ("fs.nr_open", "capacity", "no process may have more descriptors"),
    ("fs.file-max", "capacity", "the machine runs out of descriptors"),
    ("net.netfilter.nf_conntrack_max", "capacity", "the firewall's table fills up and drops new connections"),
)


def shortages(backlog: int, capacity: int, read: Reader) -> list[Shortage]:
    """What is too small for this backlog and capacity; `read` gives a setting's value, None where there is none."""
    wanted = {"backlog": backlog, "capacity": capacity}
    found = []
    for setting, measure, effect in _CHECKS:
        value = read(setting)
        if value is not None and value < wanted[measure]:
            found.append(Shortage(setting, value, wanted[measure], effect))
    return found


def read_setting(name: str) -> int | None:
    """The running kernel's value; None where it has no such setting."""
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def warn(backlog: int, capacity: int, read: Reader = read_setting) -> None:
    """Log a line for each setting that is too small."""
    for short in shortages(backlog, capacity, read):
        fields = {"setting": short.setting, "value": short.value, "wanted": short.wanted, "effect": short.effect}
        log.warning("kernel setting too small", extra={"action": "kernel_setting", **fields})
