"""``python -m bench hold``: the memory that an idle connection costs, in Roost and in other servers.

All servers of a round hold their connections at the same time, and each client has an address of its own. Each server
is started and warmed up: its code paths run once, so that objects which are made on first use are part of the base.
Then the clients of one server after the other connect, and stay silent. After a pause of more than one ping period, the
memory of the server's process minus the base is divided by the number of connections. For Roost's own servers, asyncio
tasks and allocated blocks (every Python object has at least one, timers included) are counted before and after: a
connection owns none, except that the TLS session of a connection over TLS has eight blocks.

At the end all clients disconnect. A minute later, the memory above the base is again divided by their number. Then as
many other clients, from other addresses, connect and disconnect: memory that remains after the first group and does
not grow with the second is reused for later connections; memory that grows again has leaked.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack

from bench.compare import servers
from bench.report import Report
from bench.support.clients import idle_processes
from bench.support.rounds import Row
from roost.gateway.connections.wheel import SIZE, TICK_S
from roost.gateway.deadlines import TIDY_S

WARM_UP_COUNT = 200
LEFT_S = SIZE * TICK_S + TIDY_S + 10
"""The last are closed 5 s after they left; the gateway looks for that now and then, and when its wheel has turned once
more it gives memory back."""

DEFAULT = (*servers.ALL_OURS, *servers.PEERS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--count", type=int, default=15_000, help="connections to hold, each server [15000]")
    parser.add_argument("--settle-s", type=float, default=30.0, help="silence before measuring, pings included [30]")
    parser.add_argument(
        "--left-s",
        type=float,
        default=LEFT_S,
        help=f"after all have left, before it is measured what stays: servers clean up later [{LEFT_S:.0f}]",
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds [3]")
    parser.add_argument("--only", default=",".join(DEFAULT), help="servers, with commas between them")


def run(options: argparse.Namespace) -> Report:
    """Measure all."""
    report = Report(f"Holding {options.count:,} idle connections in one process")
    names = options.only.split(",")
    missing = servers.what_is_missing(names)
    present = [name for name in names if name not in missing]
    found: dict[str, list[Row]] = {name: [] for name in present}
    for turn in range(options.rounds):
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for name, row, remark in _round(present, options):
            found[name].append(row)
            report.remarks += [f"round {turn + 1}: {remark}"] if remark else []
    report.add_rounds(found)
    report.remarks += [f"left out: {name}: {why}" for name, why in missing.items()]
    report.remarks += [
        f"medians of {options.rounds} rounds; measured {options.settle_s:g} s after the last connection opened",
        "own: memory a process has written (anonymous pages), RSS: all it has in RAM, shared libraries included; "
        "kernel: slab memory of the whole machine while the connections opened, both ends of each and the epoll "
        "entries included",
        f"left: what stays, for each connection of one group, {options.left_s:.0f} s after all have left; left twice: "
        "after a second group of the same size has connected and disconnected as well (what leaks doubles)",
    ]
    return report


def _round(names: list[str], options: argparse.Namespace) -> list[tuple[str, Row, str]]:
    with ExitStack() as stack:
        holding = [_Holding(stack, name, index, options.count) for index, name in enumerate(names)]
        for one in holding:
            one.open()
        time.sleep(options.settle_s)
        for one in holding:
            one.settled()
        _leave(holding, options.left_s, " left")
        for one in holding:
            one.open_again()
        _leave(holding, options.left_s, " left twice")
        return [one.result() for one in holding]


def _leave(holding: list[_Holding], left_s: float, when: str) -> None:
    for one in holding:
        one.close()
    time.sleep(left_s)
    for one in holding:
        one.left(when)


class _Holding:
    """One server of a round, warmed up, and the clients that will connect to it."""

    def __init__(self, stack: ExitStack, name: str, index: int, count: int) -> None:
        self.name, self._count = name, count
        self._server = stack.enter_context(servers.running(name))
        self._hello, self._tls = name == servers.OUR_JOBS, name == servers.OUR_TLS
        first = index * idle_processes.ADDRESSES_EACH
        self._clients = stack.enter_context(
            idle_processes.idle_processes(self._server.port, count, first, hello=self._hello, tls=self._tls)
        )
        self._row: dict[str, float] = {}
        self._warm_up()
        self._blocks: list[dict[str, int]] = []

    def _warm_up(self) -> None:
        """Let every code path run once: opening, closing, two scrapes."""
        with idle_processes.one(
            self._server.port, idle_processes.WARM_UP_FIRST, hello=self._hello, tls=self._tls
        ) as clients:
            clients.open(WARM_UP_COUNT)
            self._metrics()
            clients.close()
        for _ in range(3):
            self._metrics()

    def _metrics(self) -> dict[str, int]:
        return self._server.gateway.metrics() if self._server.gateway is not None else {}

    def open(self) -> None:
        """Open all connections."""
        self._blocks.append(self._metrics())
        self._base = self._server.look()
        self._row["open s"] = self._clients.open()
        now = self._server.look()
        self._row["open CPU µs each"] = now.cpu.since(self._base.cpu).total_s / self._count * 1e6
        self._row["kernel B each"] = (now.kernel_bytes - self._base.kernel_bytes) / self._count

    def settled(self) -> None:
        """All are silent."""
        self._blocks.append(self._metrics())
        self._weigh(" each")
        self._stats = self._clients.stats()

    def open_again(self) -> None:
        """Connect a second group of clients."""
        self._clients.open()

    def close(self) -> None:
        """All leave."""
        self._clients.close()

    def left(self, when: str) -> None:
        """All have left; `when` names the columns."""
        self._blocks.append(self._metrics())
        self._weigh(when)

    def _weigh(self, when: str) -> None:
        now = self._server.look()
        self._row[f"own B{when}"] = (now.own_bytes - self._base.own_bytes) / self._count
        self._row[f"RSS B{when}"] = (now.resident_bytes - self._base.resident_bytes) / self._count

    def result(self) -> tuple[str, Row, str]:
        """Name, figures, remark."""
        self._row["lost"] = self._clients.stats()["lost"]
        return self.name, self._row, self._remark()

    def _remark(self) -> str:
        """Return a gateway's own counters as a remark."""
        if self._server.gateway is None:
            return ""
        base, held, left, again = self._blocks
        return (
            f"{self.name}: {_signed(held, base, 'open_connections')} open, {self._stats['pings']:,} pings; "
            f"blocks {_signed(held, base, 'python_blocks')}, tasks {_signed(held, base, 'tasks')} while held; "
            f"blocks {_signed(left, base, 'python_blocks')}, tasks {_signed(left, base, 'tasks')} when all had left; "
            f"blocks {_signed(again, left, 'python_blocks')} by the second clients"
        )


def _signed(now: dict[str, int], base: dict[str, int], name: str) -> str:
    return f"{now[name] - base[name]:+,}"
