"""``python -m bench accept``: processor time of the server for each accepted connection, ours and others'.

A connection is all of it: connect, upgrade, and the closing handshake. Clients come 100 at a time.
"""

from __future__ import annotations

import argparse

from bench import crowds, servers
from bench.report import Report
from bench.rounds import Row, take_turns

WARM_UP_COUNT = 500
DEFAULT = (servers.OURS, *servers.PEERS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` wants to know."""
    parser.add_argument("--count", type=int, default=10_000, help="connections of a round [10000]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server [3]")
    parser.add_argument("--only", default=",".join(DEFAULT), help="servers, with commas between them")


def run(options: argparse.Namespace) -> Report:
    """Measure all."""
    report = Report(f"Accepting {options.count:,} connections")
    names = options.only.split(",")
    missing = servers.what_is_missing(names)
    present = [name for name in names if name not in missing]
    report.add_rounds(take_turns(present, options.rounds, lambda name: _round(name, options.count)))
    report.remarks += [f"left out: {name}: {why}" for name, why in missing.items()]
    report.remarks += [
        f"medians of {options.rounds} rounds that took turns; connect, upgrade and closing handshake",
        "own B left each: what the server's memory has grown by, for each connection that came and went",
    ]
    return report


def _round(name: str, count: int) -> Row:
    with servers.running(name) as server, crowds.one(server.port, crowds.WARM_UP_FIRST) as crowd:
        crowd.churn(WARM_UP_COUNT)
        before = server.look()
        seconds = crowd.churn(count)
        after = server.look()
    cpu = after.cpu.since(before.cpu)
    return {
        "connections/s": count / seconds,
        "CPU µs each": cpu.total_s / count * 1e6,
        "of it kernel": cpu.kernel_s / count * 1e6,
        "own KiB": after.own_bytes / 1024,
        "own B left each": (after.own_bytes - before.own_bytes) / count,
    }
