"""``python -m bench choice``: four strategies by which discovery could distribute a connect storm over gateways.

It simulates (`bench.compare.simulation` describes the model) round robin, the least loaded gateway by the last
heartbeats, the better of two random gateways, and the strategy of Roost. The last one is the production code,
`roost.discovery.core.table`, with one table for each replica of discovery. All strategies get the same clients, on
clusters of different sizes, with different numbers of replicas and heartbeat intervals. The figures are how much fuller
the fullest gateway is than the mean at the end, and the time until every client is connected. A plot is written beside
the JSON.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import TypeVar

from bench.compare.simulation import ASK_S, Outcome, Scene, Simulation
from bench.compare.strategies import CHOOSERS, OURS
from bench.report import Report
from bench.support.processes import CPU_COUNT

N = TypeVar("N", int, float)
GATEWAYS, REPLICAS, BEATS_S = (3, 10, 30, 100, 300), (1, 3, 5), (0.2, 1.0, 10.0)
TIME_SLACK = 1.05
"""A rule that takes up to this much longer than the quickest counts as equal: when the last of a million clients
connects is chance.
"""

Results = dict[Scene, dict[str, Outcome]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--clients", type=int, default=1_000_000, help="clients of each storm [1000000]")
    parser.add_argument("--gateways", default=_listed(GATEWAYS), help=f"with commas between [{_listed(GATEWAYS)}]")
    parser.add_argument("--replicas", default=_listed(REPLICAS), help=f"of discovery [{_listed(REPLICAS)}]")
    parser.add_argument("--beats-s", default=_listed(BEATS_S), help=f"times between beats [{_listed(BEATS_S)}]")
    parser.add_argument("--seed", type=int, default=1, help="of all chance [1]")


def run(options: argparse.Namespace) -> Report:
    """Simulate all; the report has failed when ours is not the best in a row."""
    scenes = [
        Scene(gateways, replicas, beat_s, options.clients, options.seed)
        for gateways, replicas, beat_s in product(
            _numbers(options.gateways, int), _numbers(options.replicas, int), _numbers(options.beats_s, float)
        )
    ]
    results: Results = {scene: {} for scene in scenes}
    for scene, rule, outcome in _simulated(scenes):
        results[scene][rule] = outcome
    report = Report(f"{options.clients:,} clients come within {ASK_S:g} s")
    for scene, outcomes in results.items():
        report.rows.append(_row(scene, outcomes))
    _judge(report, results)
    report.remarks += [
        "peak: how far the fullest gateway is over the mean fullness when all are in; s: until the last client is in; "
        "refusals: for each client, by gateways that were full or had too long a line",
        "ours is roost.discovery.core.table itself, one for each replica, in every row",
    ]
    _plot(results, options.json.with_suffix(".png"))
    return report


def _simulated(scenes: Sequence[Scene]) -> Iterator[tuple[Scene, str, Outcome]]:
    """The outcome of every rule in every scene, the long ones first, on all processors."""
    tasks = sorted(product(scenes, CHOOSERS), key=lambda task: (task[1] != OURS, -task[0].gateways))
    with ProcessPoolExecutor(CPU_COUNT) as pool:
        for number, ((scene, rule), outcome) in enumerate(zip(tasks, pool.map(_simulate, tasks), strict=True), 1):
            print(f"{number} of {len(tasks)}: {scene}, {rule}: {outcome}", file=sys.stderr, flush=True)
            yield scene, rule, outcome


def _simulate(task: tuple[Scene, str]) -> Outcome:
    scene, rule = task
    return Simulation(scene, CHOOSERS[rule](scene)).run()


def _row(scene: Scene, outcomes: dict[str, Outcome]) -> dict[str, float]:
    row: dict[str, float] = {"gateways": scene.gateways, "replicas": scene.replicas, "beat s": scene.beat_s}
    for rule in CHOOSERS:
        row[f"{rule}: peak %"] = (outcomes[rule].peak - 1) * 100
        row[f"{rule}: s"] = outcomes[rule].all_in_s
        row[f"{rule}: refusals"] = outcomes[rule].refusals / scene.clients
    return row


def _judge(report: Report, results: Results) -> None:
    """Ours ahead on every row, or which rows it is not on."""
    for scene, outcomes in results.items():
        others = [outcome for rule, outcome in outcomes.items() if rule != OURS]
        is_most_even = outcomes[OURS].peak < min(other.peak for other in others)
        is_quickest = outcomes[OURS].all_in_s <= TIME_SLACK * min(other.all_in_s for other in others)
        report.require("ours has the lowest peak on every row", is_most_even)
        report.require(
            f"with ours the last client is in as early as with any other, within {TIME_SLACK - 1:.0%}", is_quickest
        )
        if not (is_most_even and is_quickest):
            report.remarks.append(f"not ahead: {scene}")


def _plot(results: Results, file: Path) -> None:
    try:
        from bench.compare.choice_plot import plot
    except ImportError as missing:
        print(f"no plot: {missing}; make setup, or pip install '.[bench]'", file=sys.stderr)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    plot(results, file)
    print(f"plot: {file}")


def _numbers(text: str, kind: Callable[[str], N]) -> list[N]:
    try:
        return [kind(item) for item in text.split(",")]
    except ValueError as problem:
        raise SystemExit(f"write numbers with commas between them: {problem}") from None


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
