"""Which cells there are: every point of a job's way, with every fault that may happen there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch

from roost.wire.failpoints import Point

PARTS = ("gateway", "master", "worker", "lock")
ENGINES = ("rabbitmq", "postgres", "redis")


class Action(StrEnum):
    """What happens to the victim."""

    KILL = "kill"
    """kill -9, while the process at the point stands still."""
    HANG = "hang"
    """It stands still while the process at the point goes on, and is then killed: in the middle of the step."""
    STOP = "stop"
    """SIGSTOP for 20 s: longer than a lease, and than the patience of everybody who talks to it."""
    CUT = "cut"
    """20 s without a network; then all that was under way arrives."""


@dataclass(frozen=True, order=True)
class Cell:
    """A point and a fault."""

    point: Point
    victim: str
    action: Action

    def __str__(self) -> str:
        return f"{self.point}/{self.column}"

    @property
    def column(self) -> str:
        return f"{self.victim}.{self.action}"

    @property
    def step(self) -> str:
        """The step of a job's way that the point belongs to."""
        return self.point.partition(".")[0]

    @property
    def lane(self) -> str:
        """Which kind of lane it needs: one whose engine may be killed, one whose master may be cut off, or any."""
        return "cut" if self.action is Action.CUT else self.victim if self.victim in ENGINES else "plain"


BEFORE = ("begun", "received", "taken", "done")
"""Endings of points that lie before something is asked of an engine."""
WITHOUT_MASTER = ("submit", "delivery", "read", "ack", "resume", "sweep", "release")
"""Steps in which no master holds a job, or is leaving it anyway."""


def cells() -> Iterator[Cell]:
    """All of them, in the order of a job's way."""
    for point in Point:
        step, _, moment = point.partition(".")
        for part in PARTS:
            yield Cell(point, part, Action.KILL)
        if step not in WITHOUT_MASTER:
            yield Cell(point, "master", Action.STOP)
            yield Cell(point, "master", Action.CUT)
        for engine in ENGINES:
            yield Cell(point, engine, Action.KILL)
            if moment in BEFORE and engine != "redis":
                yield Cell(point, engine, Action.HANG)


def pick(pattern: str) -> list[Cell]:
    """Those whose name matches, with the wildcards of a shell; without any, those that have it in their name."""
    words = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    return [cell for cell in cells() if fnmatch(str(cell), words)]
