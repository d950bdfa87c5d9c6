"""``python -m tests.faults``: the fault matrix, or a part of it.

Every point of a job's way (`wire/failpoints.py`) with every fault: gateway, master, worker, lock server, RabbitMQ,
PostgreSQL and Redis killed with -9 there, engines killed in the middle of a step, masters stopped or cut off for 20 s.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tests.faults.matrix import Cell, cells, pick
from tests.faults.run import Runner, Verdict
from tests.faults.soak import Soak
from tests.faults.soak import __doc__ as soak_text
from tests.faults.table import table

OUT = Path(__file__).parent.parent.parent / "build" / "faults"


def say(text: str) -> None:
    """At once, for long runs are watched."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Progress:
    """Tells of each verdict, and keeps what its lane said of a bad one."""

    def __init__(self, count: int) -> None:
        self._count, self._done, self._failed, self._began = count, 0, 0, time.monotonic()

    def tell(self, verdict: Verdict) -> None:
        self._done += 1
        self._failed += bool(verdict.problem)
        place = f"{time.monotonic() - self._began:5.0f} s  {self._done}/{self._count}"
        say(f"{place}  {'FAILED' if verdict.problem else 'held'}  {verdict.cell}  {verdict.took_s:.1f} s")
        if verdict.problem:
            file = OUT / f"{str(verdict.cell).replace('/', '-')}.log"
            file.write_text(verdict.told)
            say(f"         {verdict.problem}\n         see {file}")


def run(chosen: Sequence[Cell], jobs: int) -> int:
    """The exit status."""
    OUT.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    runner = Runner(chosen, jobs, Progress(len(chosen)).tell)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(runner.run())
    failed = [verdict for verdict in runner.verdicts if verdict.problem]
    text = table(runner.verdicts)
    summary = f"{len(runner.verdicts)} cells in {time.monotonic() - began:.0f} s, {len(failed)} failed"
    (OUT / "table.txt").write_text(f"{text}\n{summary}\n")
    say(f"\n{text}\n{summary}; as a file: {OUT / 'table.txt'}")
    return 1 if failed or len(runner.verdicts) < len(chosen) else 0


def run_soak(options: argparse.Namespace) -> int:
    """The exit status."""
    seed = options.seed if options.seed is not None else int(time.time())
    say(f"{options.jobs} jobs in flight for {options.minutes:g} minutes, seed {seed}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        tally = loop.run(Soak(options.minutes, options.jobs, seed, say).run())
    say(tally.text())
    return 0 if tally.holds else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything held."""
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", metavar="PATTERN", default="*", help="as complete.*/master.*, or a piece of names")
    parser.add_argument("--list", action="store_true", help="name the cells, and run none")
    parser.add_argument("--jobs", type=int, default=8, metavar="N", help="lanes side by side [8]")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="each cell so often [1]")
    more = parser.add_subparsers(dest="name", metavar="soak", help="random kills instead, for long")
    soaking = more.add_parser("soak", description=soak_text)
    soaking.add_argument("--minutes", type=float, default=20.0, help="how long things go wrong [20]")
    soaking.add_argument("--jobs", type=int, default=20, metavar="N", help="in flight [20]")
    soaking.add_argument("--seed", type=int, help="of what is killed when [the time]; not all of chance is ours")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run_soak(options) if options.name else run_matrix(options, parser)
    except KeyboardInterrupt:
        say("interrupted")
        return 130


def run_matrix(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """The exit status."""
    chosen = pick(options.only)
    if not chosen:
        parser.error(f"no cell matches {options.only!r}: see --list")
    if not options.list:
        return run(chosen * options.repeat, options.jobs)
    for cell in chosen:
        say(str(cell))
    say(f"{len(chosen)} of {len(list(cells()))} cells")
    return 0


if __name__ == "__main__":
    sys.exit(main())
