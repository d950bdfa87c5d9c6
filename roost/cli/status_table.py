"""The table of a system's components, merged from the answers of discovery's replicas. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from roost.cli.discovery_replicas import Reply
from roost.export.printable import printable

KINDS = ("gateway", "lock", "master", "worker")
NAME_CHARS = 8
"""Characters shown of an incarnation for components without an address: enough to distinguish them."""

LATE_S, VERY_LAGGED_MS, FULL_SHARE = 2.5, 250.0, 0.9
"""Limits from which a value is yellow. Heartbeats come every second; lag and load influence the choice of gateways."""


def merge(replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """Every component once, from the replica that heard from it last; sorted by kind and name."""
    freshest: dict[str, dict[str, Any]] = {}
    for reply in replies:
        for component in (reply.body or {}).get("components", ()):
            known = freshest.get(component["incarnation"])
            if known is None or component["silent_s"] < known["silent_s"]:
                freshest[component["incarnation"]] = component
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(
        freshest.values(), key=lambda component: (order.get(component["kind"], len(KINDS)), name_of(component))
    )


def name_of(component: dict[str, Any]) -> str:
    """The component's address, or the beginning of its incarnation."""
    return str(component["address"] or component["incarnation"][:NAME_CHARS])


def state_of(component: dict[str, Any]) -> str:
    """The component's state in a word or two."""
    if component["draining"]:
        return "draining" if component["load"] else "drained"
    return f"giving {component['moving']:,} away" if component.get("moving") else "up"


def table(replies: Sequence[Reply]) -> Table:
    """A table with one row for each replica of discovery and each component."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (
        "component",
        "where",
        "version",
        "load",
        "of",
        "full",
        "lag ms",
        "age",
        "silent s",
        "state",
        "counters",
    ):
        is_number = heading in ("load", "of", "full", "lag ms", "age", "silent s")
        made.add_column(heading, justify="right" if is_number else "left", no_wrap=heading != "counters")
    for reply in replies:
        state = Text("up") if reply.body is not None else Text(printable(reply.problem), "red")
        made.add_row("discovery", Text(printable(reply.url)), *[""] * 7, state, "")
    for component in merge(replies):
        made.add_row(*_cells(component))
    return made


def _cells(component: dict[str, Any]) -> list[Text]:
    load, capacity = int(component["load"]), int(component["capacity"])
    full = load / capacity if capacity else 0.0
    counters = ", ".join(f"{name} {_count(value)}" for name, value in sorted(component["counters"].items()))
    state = state_of(component)
    plain = (component["kind"], name_of(component), component["version"])
    return [
        *(Text(printable(str(text))) for text in plain),
        Text(f"{load:,}"),
        Text(f"{capacity:,}"),
        _warned(f"{full:.0%}", full >= FULL_SHARE),
        _warned(f"{component['lag_ms']:,.0f}", component["lag_ms"] >= VERY_LAGGED_MS),
        Text(_age(component["known_s"])),
        _warned(f"{component['silent_s']:.1f}", component["silent_s"] >= LATE_S),
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
