"""The report of a benchmark, for people (a Markdown table) and for programs (JSON)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.support.rounds import Row, medians


@dataclass
class Report:
    """A table of rows, each a dict with the same keys, and remarks about how it was measured.

    `rounds` has the figures of every round by row; the rows are their medians. `goals` maps what had to be shown to
    whether it was; a report without goals cannot fail.
    """

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    rounds: dict[str, Sequence[Row]] = field(default_factory=dict)
    goals: dict[str, bool] = field(default_factory=dict)

    def require(self, goal: str, is_met: bool) -> None:
        """Record whether a goal was met; a goal that is recorded twice must be met twice."""
        self.goals[goal] = is_met and self.goals.get(goal, True)

    @property
    def has_failed(self) -> bool:
        """Whether a goal was missed."""
        return not all(self.goals.values())

    def add_rounds(self, found: Mapping[str, Sequence[Row]], first: str = "server") -> None:
        """Add a row for each name, with the medians of its rounds; `first` is the heading of the names."""
        for name, rows in found.items():
            self.rounds[name] = rows
            self.rows.append({first: name, **medians(rows)})

    def markdown(self) -> str:
        """Return heading, table, remarks and verdict as Markdown."""
        if not self.rows:
            return "\n".join([f"## {self.title}", "", "nothing measured", "", *self._verdict()])
        names = list(self.rows[0])
        lines = [f"## {self.title}", "", _line(names), _line(["---", *["---:"] * (len(names) - 1)])]
        lines += [_line([_cell(row.get(name)) for name in names]) for row in self.rows]
        return "\n".join([*lines, "", *(f"- {remark}" for remark in self.remarks), "", *self._verdict()])

    def _verdict(self) -> list[str]:
        if not self.goals:
            return []
        lines = [f"- {'met' if is_met else 'MISSED'}: {goal}" for goal, is_met in self.goals.items()]
        return [f"verdict: {'FAILED' if self.has_failed else 'passed'}", "", *lines, ""]

    def as_json(self) -> str:
        """Return the report as one JSON object, with the machine it was measured on."""
        machine = {"system": platform.platform(), "python": platform.python_version(), "cpus": os.cpu_count()}
        found = {
            "title": self.title,
            "machine": machine,
            "rows": self.rows,
            "remarks": self.remarks,
            "rounds": self.rounds,
            "goals": self.goals,
        }
        return json.dumps(found, indent=2)

    def publish(self, json_file: Path) -> None:
        """Print the table; write the JSON."""
        print(self.markdown())
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(self.as_json() + "\n")
        print(f"as JSON: {json_file}")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
