"""Verdicts as a table: a row for each point, a column for each fault."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from roost.wire.failpoints import Point
from tests.faults.matrix import PARTS, Cell, cells
from tests.faults.run import Verdict

HELD, FAILED, NOT_RUN, NONE = "held", "FAILED", ".", ""


def table(verdicts: Iterable[Verdict]) -> str:
    """A cell that ran held with the seconds that it took, or FAILED; "." did not run."""
    found: defaultdict[Cell, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        found[verdict.cell].append(verdict)
    every = {(cell.point, cell.column): cell for cell in cells()}
    columns = sorted({cell.column for cell in every.values()}, key=lambda name: (name.split(".")[0] not in PARTS, name))
    points = [point for point in Point if any(cell.point == point for cell in found)]
    rows = [["point", *columns]]
    for point in points:
        marks = [_mark(every.get((point, column)), found) for column in columns]
        rows.append([str(point), *marks])
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns) + 1)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)


def _mark(cell: Cell | None, found: dict[Cell, list[Verdict]]) -> str:
    if cell is None:
        return NONE
    verdicts = found.get(cell)
    if not verdicts:
        return NOT_RUN
    if any(verdict.problem for verdict in verdicts):
        return FAILED
    return f"{HELD} {max(verdict.took_s for verdict in verdicts):.0f}"
