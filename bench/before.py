"""Compares a benchmark of this code with that of another checkout: ``python -m bench NAME --before DIR``.

DIR is a checkout that was set up (``make setup``). Each turn runs the whole benchmark once there and once here, each
in a process of its own. A figure counts as different only when the two medians differ by more than the spread of the
other checkout's own turns (largest minus smallest), because on a shared machine a smaller difference can be noise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import Report

TURNS = 7
FIGURES = Mapping[tuple[str, str], Sequence[float]]
"""All turns of each figure, by row and column."""


def compare(name: str, arguments: Sequence[str], before: Path, turns: int = TURNS) -> Report:
    """Run ``python -m bench NAME ARGUMENTS`` in both checkouts. SystemExit for a DIR that cannot run it."""
    before = before.resolve()
    python = before / ".venv/bin/python"
    if not python.exists():
        raise SystemExit(
            f"{before} is no checkout that was set up: there is no .venv/bin/python (run make setup there)"
        )
    there: dict[tuple[str, str], list[float]] = {}
    here: dict[tuple[str, str], list[float]] = {}
    for turn in range(turns):
        print(f"turn {turn + 1} of {turns}", file=sys.stderr, flush=True)
        _add(there, _run(python, name, arguments, before))
        _add(here, _run(Path(sys.executable), name, arguments, Path(__file__).resolve().parents[1]))
    report = Report(f"{name}: this code beside {before}, {turns} turns")
    report.rows = rows(there, here)
    report.remarks = [
        "medians; spread: largest less smallest of the other checkout's turns",
        "a difference is one when the medians are further apart than the spread",
    ]
    return report


def rows(there: FIGURES, here: FIGURES) -> list[dict[str, Any]]:
    """A row for each figure; those that only one of the two has say so."""
    return [_row(key, there.get(key, ()), here.get(key, ())) for key in sorted(there.keys() | here.keys())]


def _row(key: tuple[str, str], there: Sequence[float], here: Sequence[float]) -> dict[str, Any]:
    row: dict[str, Any] = {"row": key[0], "figure": key[1], "before": None, "now": None, "spread before": None}
    if there:
        row |= {"before": median(there), "spread before": max(there) - min(there)}
    if here:
        row |= {"now": median(here)}
    if not (there and here):
        return row | {"verdict": "only before" if there else "only now"}
    difference = row["now"] - row["before"]
    same = abs(difference) <= row["spread before"]
    return row | {"verdict": "the same" if same else "higher" if difference > 0 else "lower"}


def _run(python: Path, name: str, arguments: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="roost-bench-") as kept:
        file = Path(kept) / "figures.json"
        command = [str(python), "-m", "bench", name, *arguments, "--json", str(file)]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not file.exists():
            raise SystemExit(f"{' '.join(command)} in {folder} ended with {done.returncode}:\n{done.stdout[-2000:]}")
        found: list[dict[str, Any]] = json.loads(file.read_text())["rows"]
        return found


def _add(figures: dict[tuple[str, str], list[float]], measured: Sequence[Mapping[str, Any]]) -> None:
    """The first column of a row is its name; of the others those that are numbers are figures."""
    for row in measured:
        names = list(row)
        for column in names[1:]:
            if isinstance(row[column], int | float) and not isinstance(row[column], bool):
                figures.setdefault((str(row[names[0]]), column), []).append(float(row[column]))
