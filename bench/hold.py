"""``python -m bench hold``: what an idle connection costs, in memory and in processor time.

A gateway process is started and warmed up (its code paths run once, so that what is made lazily counts as base), then
clients connect, each from an address of its own, and stay silent. After a pause of more than one ping period the
memory of the gateway process, less the base, is divided by the number of connections. Tasks and allocated blocks
(every Python object has at least one, timers included) are counted before and after: a connection owns none. At the
end all leave.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from subprocess import Popen
from typing import Any

from bench import gateways, processes
from bench.gateways import Figures, Gateway
from bench.report import Report

CROWD_COUNT = 15_000
"""Clients in one load process, whose descriptors may be limited to 20,000."""

WARM_UP_COUNT = 200
WARM_UP_FIRST = 1 << 23
"""Addresses of its own for the warm-up, or later clients would meet what lingers of its connections (TIME_WAIT)."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` wants to know."""
    parser.add_argument("--count", type=int, default=10_000, help="connections to hold [10000]")
    parser.add_argument("--app", default=gateways.ECHO, help=f"the application, module:Class [{gateways.ECHO}]")
    parser.add_argument("--settle-s", type=float, default=30.0, help="silence before measuring, pings included [30]")


def run(options: argparse.Namespace) -> Report:
    """Measure one gateway process."""
    report = Report(f"Holding {options.count:,} idle connections in one process")
    with gateways.gateway(options.app) as gateway, _crowds(gateway.port, options.count) as crowds:
        _warm_up(gateway)
        base = gateway.look()
        seconds = sum(_open(crowd, count) for crowd, count in crowds)
        opened = gateway.look()
        time.sleep(options.settle_s)
        held = gateway.look()
        lost = [processes.tell(crowd, "stats") for crowd, _ in crowds]
        report.rows.append(_row("held", base, held, held.connections))
        _close(crowds)
        left = gateway.look()
        report.rows.append(_row("after all left", base, left, options.count))
    idle_us = (held.cpu_s - opened.cpu_s) / options.settle_s / options.count * 1e6
    report.remarks += [
        f"base: {base.own_bytes:,} bytes of its own, {base.resident_bytes:,} resident, {base.blocks:,} blocks",
        f"{gateway.capacity_line}; all open after {seconds:.1f} s",
        f"{held.pings:,} pings; idle CPU {idle_us:.2f} µs per connection and second over {options.settle_s:g} s",
        f"load processes: {'; '.join(lost)}",
        "kernel bytes: slab memory of the whole machine, both ends of each connection and the epoll entries included",
    ]
    return report


def _row(phase: str, base: Figures, now: Figures, count: int) -> dict[str, Any]:
    def each(amount: int) -> float:
        return amount / max(count, 1)

    return {
        "phase": phase,
        "connections": now.connections,
        "own B each": each(now.own_bytes - base.own_bytes),
        "RSS B each": each(now.resident_bytes - base.resident_bytes),
        "kernel B each": each(now.kernel_bytes - base.kernel_bytes),
        "blocks more": now.blocks - base.blocks,
        "tasks more": now.tasks - base.tasks,
    }


@contextmanager
def _crowds(port: int, total: int, offset: int = 0) -> Iterator[list[tuple[Popen[str], int]]]:
    """Load processes, each with how many clients it is to be."""
    with ExitStack() as stack:
        crowds = []
        for first in range(0, total, CROWD_COUNT):
            command = [sys.executable, "-m", "bench.crowd", str(port), str(offset + first)]
            crowds.append((stack.enter_context(processes.running(command)), min(CROWD_COUNT, total - first)))
        yield crowds


def _open(crowd: Popen[str], count: int) -> float:
    return float(processes.tell(crowd, f"open {count}").split()[-1])


def _warm_up(gateway: Gateway) -> None:
    """Let every code path run once: opening, closing, two scrapes."""
    with _crowds(gateway.port, WARM_UP_COUNT, WARM_UP_FIRST) as crowds:
        _open(*crowds[0])
        gateway.look()
        _close(crowds)
    for _ in range(3):
        gateway.look()


def _close(crowds: list[tuple[Popen[str], int]]) -> None:
    for crowd, _ in crowds:
        processes.tell(crowd, "close")
