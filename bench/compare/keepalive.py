"""``python -m bench keepalive``: processor time for keeping silent connections alive, beside a minimal loop.

The gateway and a loop that only pings (`bench.compare.peers.bare_pings`) each hold the same number of connections, at
the same time and on the same processor, and ping each once a period. Every round is one period of both.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.compare.servers import ROOT, Server
from bench.report import Report
from bench.support import gateways, processes
from bench.support.clients import idle_processes
from bench.support.rounds import Row, medians
from roost.gateway.connections.wheel import TICK_S

BARE, OURS = "bare loop", "roost"
DEFAULT_PERIOD_S = 25.0
BARE_FIRST = 1 << 22
"""Addresses of the bare loop's clients."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--count", type=int, default=15_000, help="connections of each [15000]")
    parser.add_argument("--period-s", type=float, default=DEFAULT_PERIOD_S, help="between pings of a connection [25]")
    parser.add_argument("--rounds", type=int, default=3, help="periods that are measured, after a first one [3]")


def run(options: argparse.Namespace) -> Report:
    """Measure both."""
    report = Report(f"Keeping {options.count:,} connections alive, a ping every {options.period_s:g} s")
    with ExitStack() as stack:
        kept = [
            _Kept(stack, stack.enter_context(server(options.period_s)), first, options.count)
            for server, first in ((_bare, BARE_FIRST), (_gateway, 0))
        ]
        time.sleep(options.period_s)  # the first pings come early, as the phases are spread
        found = _rounds(kept, options)
        losses = {one.server.name: one.clients.stats()["lost"] for one in kept}
    report.add_rounds(found)
    bare, ours = (medians(found[name])["CPU µs per conn and s"] for name in (BARE, OURS))
    report.remarks += [
        f"ratio: {ours / bare:.2f}, of the medians of {options.rounds} rounds; connections lost: {losses}",
        "both held at the same time, on one processor; their clients on the others",
    ]
    if options.period_s != DEFAULT_PERIOD_S:
        scale = options.period_s / DEFAULT_PERIOD_S
        report.remarks.append(
            f"at {DEFAULT_PERIOD_S:g} s, at most: bare {bare * scale:.2f} µs, roost {ours * scale:.2f} µs"
        )
    return report


class _Kept:
    """A server that holds its connections, all open."""

    def __init__(self, stack: ExitStack, server: Server, first: int, count: int) -> None:
        self.server = server
        self._count = count
        self.clients = stack.enter_context(idle_processes.idle_processes(server.port, count, first))
        self._base = server.look()
        self.clients.open()
        self.open = server.look()
        self._pings = 0

    def row(self, period_s: float, before: processes.Figures, after: processes.Figures) -> Row:
        cpu = after.cpu.since(before.cpu)
        each = 1e6 / period_s / self._count
        pings, self._pings = self._pings, self.clients.stats()["pings"]
        return {
            "CPU µs per conn and s": cpu.total_s * each,
            "of it kernel": cpu.kernel_s * each,
            "pings": self._pings - pings,
            "own B each": (after.own_bytes - self._base.own_bytes) / self._count,
            "kernel B each": (self.open.kernel_bytes - self._base.kernel_bytes) / self._count,
        }


def _rounds(kept: list[_Kept], options: argparse.Namespace) -> dict[str, list[Row]]:
    for one in kept:
        one.row(options.period_s, one.open, one.open)  # only the pings from here on count
    found: dict[str, list[Row]] = {one.server.name: [] for one in kept}
    for turn in range(options.rounds):
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
        before = [one.server.look() for one in kept]
        time.sleep(options.period_s)
        after = [one.server.look() for one in kept]
        for one, then, now in zip(kept, before, after, strict=True):
            found[one.server.name].append(one.row(options.period_s, then, now))
    return found


@contextmanager
def _bare(period_s: float) -> Iterator[Server]:
    command = [sys.executable, str(ROOT / "bench/compare/peers/bare_pings.py"), str(period_s), str(TICK_S)]
    with processes.running(command, processes.SERVER_CPUS) as process:
        yield Server(BARE, process.pid, int(processes.said(process).split()[1]))


@contextmanager
def _gateway(period_s: float) -> Iterator[Server]:
    with gateways.gateway(gateways.ECHO, "--ping-after-s", str(period_s)) as gateway:
        yield Server(OURS, gateway.process.pid, gateway.port, gateway)
