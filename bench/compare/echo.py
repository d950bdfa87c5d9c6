"""``python -m bench echo``: messages per second and processor time per message, of Roost and of other servers.

First each server runs alone for some seconds with the same light load (`bench.support.clients.echo_load`). The server
has one processor and the load has the others. Where a server was not busy all the time, the load or the machine was the
limit, and its processor time per message says more than its rate. Then all servers run together, each with a load of
its own. They share one processor, its caches and every disturbance by other programs, so their processor times can be
compared to within a few per cent even on a machine that is not idle.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

from bench.compare import servers
from bench.report import Report
from bench.support import processes
from bench.support.clients.echo_load import MAX_BYTES
from bench.support.rounds import Row, take_turns
from roost.gateway.compiled import is_compiled

WARM_UP_S = 0.5
DEFAULT = (servers.OURS, *servers.PEERS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
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
    alone = take_turns(present, options.rounds, lambda name: _alone(name, options))
    together = _together(present, options)
    report.add_rounds(
        {name: [{**a, **b} for a, b in zip(alone[name], together[name], strict=True)] for name in present}
    )
    others = max(row["others busy %"] for rows in report.rounds.values() for row in rows)
    report.remarks += [f"left out: {name}: {why}" for name, why in missing.items()]
    if servers.OURS in present and not is_compiled:
        report.remarks.append(f"{servers.OURS}: without its compiled part")
    report.remarks += [
        f"medians of {options.rounds} rounds of {options.seconds:g} s that took turns; CPU is the server's",
        "together: all servers at once on one processor, so that whatever disturbs one disturbs all",
        f"load: {_load_count()} process(es) beside the server's processor, one message in flight on each connection",
        f"others busy: what processes beside server and load used of the machine; at most {others:.0f} % in a round",
    ]
    return report


def _load_count() -> int:
    return len(processes.LOAD_CPUS)


def _alone(name: str, options: argparse.Namespace) -> Row:
    with _Talk(name, options, _load_count()) as talk:
        talk.begin(WARM_UP_S)
        talk.end()
        base_s = processes.machine_cpu_s()
        talk.begin(options.seconds)
        count, cpu, load_s = talk.end()
        others_s = processes.machine_cpu_s() - base_s - cpu.total_s - load_s
        own = talk.server.look().own_bytes
    return {
        "messages/s": count / options.seconds,
        "CPU µs each": cpu.total_s / count * 1e6,
        "of it kernel": cpu.kernel_s / count * 1e6,
        "server busy %": cpu.total_s / options.seconds * 100,
        "load busy %": load_s / options.seconds / _load_count() * 100,
        "others busy %": max(others_s, 0) / options.seconds / processes.CPU_COUNT * 100,
        "own KiB": own / 1024,
    }


def _together(names: Sequence[str], options: argparse.Namespace) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {name: [] for name in names}
    with ExitStack() as stack:
        talks = [stack.enter_context(_Talk(name, options, 1)) for name in names]
        for turn in range(options.rounds + 1):  # the first warms up
            for talk in talks:
                talk.begin(options.seconds if turn else WARM_UP_S)
            for talk in talks:
                count, cpu, _ = talk.end()
                if turn:
                    found[talk.name].append({"together CPU µs each": cpu.total_s / count * 1e6})
    return found


class _Talk:
    """A server, and its load processes."""

    def __init__(self, name: str, options: argparse.Namespace, load_count: int) -> None:
        self.name = name
        self._options = options
        self._load_count = load_count

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.server = stack.enter_context(servers.running(self.name))
            self._loads = [stack.enter_context(self._load(index)) for index in range(self._load_count)]
            for load in self._loads:
                assert processes.said(load) == "ready"
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _load(self, index: int) -> processes.Running:
        connections, count = self._options.connections, self._load_count
        share = connections // count + (index < connections % count)
        numbers = (self.server.port, share, self._options.bytes)
        return processes.running([sys.executable, "-m", "bench.support.clients.echo_load", *map(str, numbers)])

    def begin(self, seconds: float) -> None:
        """Let the load run for so long."""
        self._before = self.server.look().cpu
        for load in self._loads:
            processes.order(load, f"run {seconds}")

    def end(self) -> tuple[int, processes.Cpu, float]:
        """Return the echoed messages, the server's processor time, and that of the load, at the end of the run."""
        answers = [[float(word) for word in processes.said(load).split()] for load in self._loads]
        cpu = self.server.look().cpu.since(self._before)
        return int(sum(count for count, _, _ in answers)), cpu, sum(busy_s for _, _, busy_s in answers)
