"""``python -m bench accept``: processor time of the server for each accepted connection, ours and others'.

A connection counts from the connect to the 101 answer. The load opens 100 at a time and keeps them all.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median

from bench import processes, rivals
from bench.report import Report


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` wants to know."""
    parser.add_argument("--count", type=int, default=10_000, help="connections of a round [10000]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server [3]")
    parser.add_argument("--only", default=",".join(rivals.NAMES), help="servers, with commas between them")


def run(options: argparse.Namespace) -> Report:
    """Measure all."""
    report = Report(f"Accepting {options.count:,} connections")
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(options.rounds):
        for name in options.only.split(","):
            with rivals.running(name) as server:
                if server is not None:
                    found.setdefault(name, []).append(_round(server, options.count))
    for name, rounds in found.items():
        rates, costs, sizes = (median(values) for values in zip(*rounds, strict=True))
        report.rows.append({"server": name, "connections/s": rates, "CPU µs each": costs, "own B each": sizes})
    missing = [name for name in options.only.split(",") if name not in found]
    report.remarks += [f"not installed: {', '.join(missing)}"] if missing else []
    return report


def _round(server: rivals.Server, count: int) -> tuple[float, float, float]:
    memory, before = processes.own_bytes(server.pid), processes.cpu_s(server.pid)
    with processes.running([sys.executable, "-m", "bench.load", "accept", str(server.port), str(count)]) as load:
        opened, seconds = map(float, processes.said(load).split())
        cost_us = (processes.cpu_s(server.pid) - before) / opened * 1e6
        return opened / seconds, cost_us, (processes.own_bytes(server.pid) - memory) / opened
