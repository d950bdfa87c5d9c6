"""``python -m bench accept``: the server's processor time for each accepted connection, of Roost and of other servers.

The time covers a whole connection: connect, upgrade, and the closing handshake. Up to 100 clients connect at a time.
First each server is measured alone, one after the other; then all are measured at the same time, as in
`bench.compare.echo`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack

from bench.compare import servers
from bench.report import Report
from bench.support.clients import idle_processes
from bench.support.rounds import Row, take_turns

WARM_UP_COUNT = 500
DEFAULT = (servers.OURS, *servers.PEERS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--count", type=int, default=10_000, help="connections of a round [10000]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server [3]")
    parser.add_argument("--only", default=",".join(DEFAULT), help="servers, with commas between them")


def run(options: argparse.Namespace) -> Report:
    """Measure all."""
    report = Report(f"Accepting {options.count:,} connections")
    names = options.only.split(",")
    missing = servers.what_is_missing(names)
    present = [name for name in names if name not in missing]
    alone = take_turns(present, options.rounds, lambda name: _alone(name, options.count))
    together = _together(present, options.rounds, max(options.count // 4, 1))
    report.add_rounds(
        {name: [{**a, **b} for a, b in zip(alone[name], together[name], strict=True)] for name in present}
    )
    report.remarks += [f"left out: {name}: {why}" for name, why in missing.items()]
    report.remarks += [
        f"medians of {options.rounds} rounds that took turns; connect, upgrade and closing handshake",
        "own B left each: what the server's memory has grown by, for each connection that came and went",
        "together: a quarter as many of all servers at once on one processor; whatever disturbs one disturbs all",
    ]
    return report


def _alone(name: str, count: int) -> Row:
    with servers.running(name) as server, idle_processes.one(server.port, idle_processes.WARM_UP_FIRST) as clients:
        clients.churn(WARM_UP_COUNT)
        before = server.look()
        seconds = clients.churn(count)
        after = server.look()
    cpu = after.cpu.since(before.cpu)
    return {
        "connections/s": count / seconds,
        "CPU µs each": cpu.total_s / count * 1e6,
        "of it kernel": cpu.kernel_s / count * 1e6,
        "own KiB": after.own_bytes / 1024,
        "own B left each": (after.own_bytes - before.own_bytes) / count,
    }


def _together(names: Sequence[str], rounds: int, count: int) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {name: [] for name in names}
    with ExitStack() as stack:
        running = [stack.enter_context(servers.running(name)) for name in names]
        load_processes = [
            stack.enter_context(idle_processes.one(server.port, index * idle_processes.ADDRESSES_EACH))
            for index, server in enumerate(running)
        ]
        for turn in range(rounds + 1):  # the first warms up
            before = [server.look().cpu for server in running]
            for clients in load_processes:
                clients.begin_churn(count if turn else WARM_UP_COUNT)
            for server, clients, then in zip(running, load_processes, before, strict=True):
                clients.end_churn()
                if turn:
                    cost_us = server.look().cpu.since(then).total_s / count * 1e6
                    found[server.name].append({"together CPU µs each": cost_us})
    return found
