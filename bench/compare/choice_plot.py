"""Plots the results of `bench.compare.choice`: balance and connect time of each strategy, by the number of gateways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.compare.simulation import ASK_S, Outcome, Scene
from bench.compare.strategies import CHOOSERS, OURS

COLOURS = {"round robin": "#7f7f7f", "least loaded": "#d62728", "best of two": "#ff9f1c", OURS: "#1f5fbf"}
SHIFTS = {"round robin": 0.94, "least loaded": 0.98, "best of two": 1.02, OURS: 1.06}
"""Factors by which the points of a strategy are moved sideways, so that coinciding lines remain visible."""

MARKERS = {"round robin": "s", "least loaded": "^", "best of two": "D", OURS: "o"}


def plot(results: dict[Scene, dict[str, Outcome]], file: Path) -> None:
    """Write the plot to `file` as PNG.

    It has one column for each heartbeat interval, with the peak load above and the connect time below, and one line for
    each strategy.
    """
    beats = sorted({scene.beat_s for scene in results})
    figure, rows = plt.subplots(
        2, len(beats), figsize=(4.2 * len(beats), 7.2), sharex=True, sharey="row", squeeze=False
    )
    for column, beat_s in enumerate(beats):
        there = {scene: outcomes for scene, outcomes in results.items() if scene.beat_s == beat_s}
        rows[0][column].set_title(f"a beat each {beat_s:g} s")
        _draw(rows[0][column], there, lambda outcome: (outcome.peak - 1) * 100)
        _draw(rows[1][column], there, lambda outcome: outcome.all_in_s)
        rows[1][column].set_xlabel("gateways")
    rows[0][0].set_ylabel("fullest gateway over the mean, %")
    rows[1][0].set_ylabel("until every client is in, s")
    for axes in rows[0]:
        axes.set_ylim(bottom=0)
    for axes in rows[1]:
        axes.set_ylim(bottom=0)
        axes.axhline(ASK_S, color="black", linewidth=0.8, linestyle=":")
    scene = next(iter(results))
    replicas = sorted({scene.replicas for scene in results})
    figure.suptitle(
        f"{scene.clients:,} clients come within {ASK_S:g} s; one gateway in ten has just been restarted\n"
        f"solid: {replicas[-1]} replicas of discovery, dashed: {replicas[0]}; dotted: the last client asks",
        fontsize=11,
    )
    handles = [Line2D([], [], color=COLOURS[rule], marker=MARKERS[rule], label=rule) for rule in CHOOSERS]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _draw(axes: Axes, results: dict[Scene, dict[str, Outcome]], figure_of: Callable[[Outcome], float]) -> None:
    replicas = sorted({scene.replicas for scene in results})
    for rule in CHOOSERS:
        for count, style, width in ((replicas[0], "--", 1.0), (replicas[-1], "-", 1.8)):
            points = sorted(
                (scene.gateways * SHIFTS[rule], figure_of(outcomes[rule]))
                for scene, outcomes in results.items()
                if scene.replicas == count
            )
            axes.plot(
                *zip(*points, strict=True), style, color=COLOURS[rule], marker=MARKERS[rule], markersize=4,
                linewidth=width, zorder=3 if rule == OURS else 2,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({scene.gateways for scene in results})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.3)
