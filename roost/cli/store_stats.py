"""What ``roost store stats`` prints. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from roost.backend.store.administration import Count, Counted, Stats, moment, span
from roost.export.printable import printable

HOW = {
    Counted.EXACTLY: "",
    Counted.FROM_A_SAMPLE: " (estimated from a sample: counting takes too long)",
    Counted.NOT: " (not counted: that takes too long)",
}


def as_json(stats: Stats) -> dict[str, Any]:
    """Return the figures as JSON has them; times are seconds since 1970."""
    return asdict(stats)


def lines(stats: Stats) -> list[str]:
    """Return the figures as lines for a person."""
    return [
        *_section("jobs", stats.jobs, stats.jobs_counted),
        *_section("requests", stats.requests, stats.requests_counted),
        f"the oldest waiting job: {_time(stats.waiting_since, stats.now)}",
        f"results: {stats.part_bytes:,} bytes in {stats.parts:,} parts{HOW[stats.parts_counted]}",
        f"the oldest outcome: {_outcome(stats)}",
        "on disk",
        *(f"  {printable(name):<24} {size:>16,} bytes" for name, size in stats.sizes.items()),
    ]


def _section(what: str, counts: list[Count], counted: Counted) -> list[str]:
    rows = [f"  {printable(f'{each.kind} {each.state}'.strip()):<24} {each.count:>16,}" for each in counts]
    return [what + HOW[counted], *(rows or (["  none"] if counted is not Counted.NOT else []))]


def _outcome(stats: Stats) -> str:
    told = _time(stats.oldest_outcome, stats.now)
    kept = stats.oldest_outcome_kept_until
    return told if kept is None else f"{told}, kept until {moment(kept)}"


def _time(at: float | None, now: float) -> str:
    return "none" if at is None else f"{moment(at)}, {span(max(0.0, now - at))} ago"
