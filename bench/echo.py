"""``python -m bench echo``: messages per second and processor time per message, ours and others' in the same run.

Each server runs alone for some seconds with the same light load (`bench.load`). The server has one processor and the
load has the others. Where a server was not busy all the time, the load or the machine was the limit, and its rate
says less than its processor time per message.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from subprocess import Popen

from bench import processes, servers
from bench.load import MAX_BYTES
from bench.report import Report
from bench.rounds import Row, take_turns

WARM_UP_S = 0.5
DEFAULT = (servers.OURS, *servers.PEERS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` wants to know."""
    parser.add_argument("--connections", type=int, default=100, help="connections [100]")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round [4]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server [3]")
    parser.add_argument("--bytes", type=int, default=32, help=f"size of a message, at most {MAX_BYTES} [32]")
    parser.add_argument("--only", default=",".join(DEFAULT), help="servers, with commas between them")


def run(options: argparse.Namespace) -> Report:
    """Measure all."""
    if not 0 <= options.bytes <= MAX_BYTES:
        raise SystemExit(f"--bytes must be at most {MAX_BYTES}")
    report = Report(f"Echo of {options.bytes} bytes over {options.connections} connections")
    names = options.only.split(",")
    missing = servers.what_is_missing(names)
    present = [name for name in names if name not in missing]
    report.add_rounds(take_turns(present, options.rounds, lambda name: _round(name, options)))
    report.remarks += [f"left out: {name}: {why}" for name, why in missing.items()]
    report.remarks += [
        f"medians of {options.rounds} rounds of {options.seconds:g} s that took turns; CPU is the server's",
        f"load: {_load_count()} process(es) beside the server's processor, one message in flight on each connection",
    ]
    return report


def _load_count() -> int:
    return len(processes.LOAD_CPUS)


def _round(name: str, options: argparse.Namespace) -> Row:
    with servers.running(name) as server, ExitStack() as stack:
        base = server.look()
        loads = [stack.enter_context(_load(server, options, index)) for index in range(_load_count())]
        for load in loads:
            assert processes.said(load) == "ready"
        _run(loads, WARM_UP_S)
        before = server.look()
        count, seconds, load_s = _run(loads, options.seconds)
        after = server.look()
    cpu = after.cpu.since(before.cpu)
    return {
        "messages/s": count / seconds,
        "CPU µs each": cpu.total_s / count * 1e6,
        "of it kernel": cpu.kernel_s / count * 1e6,
        "server busy %": cpu.total_s / seconds * 100,
        "load busy %": load_s / seconds / len(loads) * 100,
        "own KiB": after.own_bytes / 1024,
        "more KiB": (after.own_bytes - base.own_bytes) / 1024,
    }


def _load(server: servers.Server, options: argparse.Namespace, index: int) -> processes.Running:
    share = options.connections // _load_count() + (index < options.connections % _load_count())
    numbers = (server.port, share, options.bytes)
    return processes.running([sys.executable, "-m", "bench.load", *map(str, numbers)])


def _run(loads: list[Popen[str]], seconds: float) -> tuple[int, float, float]:
    """Messages of all loads, the longest time, and the processor time of all."""
    for load in loads:
        processes.order(load, f"run {seconds}")
    answers = [[float(word) for word in processes.said(load).split()] for load in loads]
    counts, times, busy = zip(*answers, strict=True)
    return int(sum(counts)), max(times), sum(busy)
