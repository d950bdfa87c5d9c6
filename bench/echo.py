"""``python -m bench echo``: messages per second and processor time per message, ours and others' in the same run.

Each server runs alone for some seconds with the same light load (`bench.load`); rounds take turns, so that a change of
the machine's mood hits all alike, and the median of a server's rounds counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from statistics import median

from bench import processes, rivals
from bench.report import Report


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` wants to know."""
    parser.add_argument("--connections", type=int, default=100, help="connections [100]")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round [4]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server [3]")
    parser.add_argument("--bytes", type=int, default=32, help="size of a message, at most 125 [32]")
    parser.add_argument("--only", default=",".join(rivals.NAMES), help="servers, with commas between them")


def run(options: argparse.Namespace) -> Report:
    """Measure all."""
    report = Report(f"Echo of {options.bytes} bytes over {options.connections} connections")
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for name in options.only.split(","):
            with rivals.running(name) as server:
                if server is not None:
                    found.setdefault(name, []).append(_round(server, options))
    for name, rounds in found.items():
        rates, costs = zip(*rounds, strict=True)
        report.rows.append(
            {"server": name, "messages/s": median(rates), "CPU µs each": median(costs), "worst round/s": min(rates)}
        )
    missing = [name for name in options.only.split(",") if name not in found]
    report.remarks += [f"not installed: {', '.join(missing)}"] if missing else []
    return report


def _round(server: rivals.Server, options: argparse.Namespace) -> tuple[float, float]:
    numbers = [server.port, options.connections, options.seconds, options.bytes]
    before = processes.cpu_s(server.pid)
    load = subprocess.run(
        [sys.executable, "-m", "bench.load", "echo", *map(str, numbers)], check=True, capture_output=True, text=True
    )
    count, seconds = map(float, load.stdout.split())
    return count / seconds, (processes.cpu_s(server.pid) - before) / count * 1e6
