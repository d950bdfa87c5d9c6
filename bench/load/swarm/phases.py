"""The phases of a load test, as a table. Pure: it takes counters and times (monotonic seconds), and returns decisions.

::

    RAMP ──all connected──▶ HOLD ──hold_s──▶ STORM ──all back──▶ OUTAGE ──all back──▶ FINISH ──jobs answered──▶ OVER
      │                      │                 │                   │                    ▲
      └──── time limit ──────┴─────────────────┴───────────────────┴────────────────────┘

When a phase is not done within its time limit, the test continues with FINISH; when FINISH is not, the test is over.
STORM and OUTAGE take place only when they are requested. In a storm the users cut their own connections. An outage is
made from outside: the program that runs the test kills every gateway when this phase begins. It is over when a gateway
has accepted each user again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bench.load.swarm.counters import Counters


class Phase(StrEnum):
    """A phase of a test."""

    RAMP = "ramp"
    HOLD = "hold"
    STORM = "storm"
    OUTAGE = "outage"
    FINISH = "finish"
    OVER = "over"


JOBLESS = frozenset({Phase.FINISH, Phase.OVER})
"""Phases in which no new jobs are submitted, so that the last ones can be answered."""

CALM = (Phase.RAMP, Phase.HOLD, Phase.STORM, Phase.FINISH)
"""Phases in which no connection may end by itself; connections that a storm cuts do not count as lost."""


@dataclass(frozen=True)
class Plan:
    """`users` users connect, `rate` per second, and stay for `hold_s`. `storm` is none, one (gateway) or all.

    `patience_s` is the time within which all must be connected: after the last was started, a storm, or an outage.
    """

    users: int
    rate: float
    hold_s: float = 300.0
    storm: str = "none"
    has_outage: bool = False
    patience_s: float = 300.0


@dataclass
class Leg:
    """The result of one phase. `took_s` of a storm or an outage is the time until all users were back."""

    phase: Phase
    began_s: float
    took_s: float = 0.0
    is_met: bool = False
    least_connected: int = -1


class Phases:
    """The state of a test. `processes` is how many processes report counters."""

    def __init__(self, plan: Plan, processes: int, now: float) -> None:
        self.plan = plan
        self.phase = Phase.RAMP
        self.legs = [Leg(Phase.RAMP, now)]
        self.total = Counters()
        self._processes = processes
        self._opened_before = 0
        self._limit_s = plan.users / plan.rate + plan.patience_s

    @property
    def is_over(self) -> bool:
        """Whether the last phase is over."""
        return self.phase is Phase.OVER

    def observe(self, total: Counters, now: float) -> bool:
        """Update the state from the sum of all counters; return whether another phase begins."""
        leg, self.total = self.legs[-1], total
        if leg.least_connected < 0 or total.connected_count < leg.least_connected:
            leg.least_connected = total.connected_count
        leg.took_s = now - leg.began_s
        if self.is_over:
            return False
        if self._is_done(total, leg):
            leg.is_met = True
            self._begin(self._after(), now)
        elif leg.took_s > self._limit_s:
            self._begin(Phase.OVER if self.phase is Phase.FINISH else Phase.FINISH, now)
        else:
            return False
        return True

    def _is_done(self, total: Counters, leg: Leg) -> bool:
        are_all_there = total.connected_count == self.plan.users
        match self.phase:
            case Phase.RAMP:
                return are_all_there
            case Phase.HOLD:
                return leg.took_s >= self.plan.hold_s
            case Phase.STORM:
                return are_all_there and total.storms >= self._processes
            case Phase.OUTAGE:
                return are_all_there and total.opened - self._opened_before >= self.plan.users
            case _:
                return total.unanswered == 0 and total.quiet >= self._processes

    def _after(self) -> Phase:
        """The phase that follows the present one."""
        wanted = {Phase.STORM: self.plan.storm != "none", Phase.OUTAGE: self.plan.has_outage}
        order = list(Phase)
        return next(phase for phase in order[order.index(self.phase) + 1 :] if wanted.get(phase, True))

    def _begin(self, phase: Phase, now: float) -> None:
        self.phase = phase
        self._opened_before = self.total.opened
        self._limit_s = self.plan.hold_s + 1.0 if phase is Phase.HOLD else self.plan.patience_s
        if phase is not Phase.OVER:
            self.legs.append(Leg(phase, now))

    def goals(self) -> dict[str, bool]:
        """Return the goals so far, and whether each was met."""
        total, users = self.total, self.plan.users
        lost = sum(total.lost_in(phase) for phase in CALM)
        met = {
            f"{users:,} users connected at once": any(leg.phase is Phase.RAMP and leg.is_met for leg in self.legs),
            f"{users:,} stayed for {self.plan.hold_s:g} s": any(
                leg.phase is Phase.HOLD and leg.is_met and leg.least_connected == users for leg in self.legs
            ),
            "no connection ended by itself (storm and outage aside)": lost == 0 and total.dismissed == 0,
            "every job was answered, and done": total.unanswered == 0 and not total.failed,
        }
        for phase, what in ((Phase.STORM, "storm"), (Phase.OUTAGE, "outage")):
            if (phase is Phase.STORM and self.plan.storm != "none") or (phase is Phase.OUTAGE and self.plan.has_outage):
                met[f"all were back after the {what}"] = any(leg.phase is phase and leg.is_met for leg in self.legs)
        return met

    def as_dict(self) -> dict[str, Any]:
        """Return the phases as plain values."""
        legs = [{**vars(leg), "phase": str(leg.phase)} for leg in self.legs]
        return {"users": self.plan.users, "legs": legs, "goals": self.goals(), "total": self.total.as_message()}
