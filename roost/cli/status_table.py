"""The parts of a system as people see them: one table, made of what the replicas of discovery know. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from roost.cli.discovery_replicas import Reply
from roost.export.printable import printable

KINDS = ("gateway", "lock", "master", "worker")
NAME_CHARS = 8
"""Of an incarnation, for parts that have no address: enough to tell them apart."""

LATE_S, VERY_LAGGED_MS, FULL_SHARE = 2.5, 250.0, 0.9
"""From here on a figure is shown in colour: beats come every second; the other two count in the choice of gateways."""


def merge(replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """Every part once, as the replica knows it that has heard of it last; by kind and name."""
    freshest: dict[str, dict[str, Any]] = {}
    for reply in replies:
        for part in (reply.body or {}).get("components", ()):
            known = freshest.get(part["incarnation"])
            if known is None or part["silent_s"] < known["silent_s"]:
                freshest[part["incarnation"]] = part
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(freshest.values(), key=lambda part: (order.get(part["kind"], len(KINDS)), name_of(part)))


def name_of(part: dict[str, Any]) -> str:
    """Its address, or the beginning of its incarnation."""
    return str(part["address"] or part["incarnation"][:NAME_CHARS])


def state_of(part: dict[str, Any]) -> str:
    """What it is at, in a word or two."""
    if part["draining"]:
        return "draining" if part["load"] else "drained"
    return f"giving {part['moving']:,} away" if part.get("moving") else "up"


def table(replies: Sequence[Reply]) -> Table:
    """One row for each replica of discovery and for each part."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("part", "where", "version", "load", "of", "full", "lag ms", "age", "silent s", "state", "counters"):
        is_number = heading in ("load", "of", "full", "lag ms", "age", "silent s")
        made.add_column(heading, justify="right" if is_number else "left", no_wrap=heading != "counters")
    for reply in replies:
        state = Text("up") if reply.body is not None else Text(printable(reply.problem), "red")
        made.add_row("discovery", Text(printable(reply.url)), *[""] * 7, state, "")
    for part in merge(replies):
        made.add_row(*_cells(part))
    return made


def _cells(part: dict[str, Any]) -> list[Text]:
    load, capacity = int(part["load"]), int(part["capacity"])
    full = load / capacity if capacity else 0.0
    counters = ", ".join(f"{name} {_count(value)}" for name, value in sorted(part["counters"].items()))
    state = state_of(part)
    plain = (part["kind"], name_of(part), part["version"])
    return [
        *(Text(printable(str(text))) for text in plain),
        Text(f"{load:,}"),
        Text(f"{capacity:,}"),
        _warned(f"{full:.0%}", full >= FULL_SHARE),
        _warned(f"{part['lag_ms']:,.0f}", part["lag_ms"] >= VERY_LAGGED_MS),
        Text(_age(part["known_s"])),
        _warned(f"{part['silent_s']:.1f}", part["silent_s"] >= LATE_S),
        _warned(state, state != "up"),
        Text(printable(counters)),
    ]


def _warned(text: str, is_odd: bool) -> Text:
    return Text(text, "yellow" if is_odd else "")


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
