"""Writes the report of a load test: the cost of each process by phase, what the users observed, and the goals."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from bench.load.swarm.deployment import Deployment
from bench.load.swarm.phases import Phase
from bench.report import Report
from bench.support import processes

MIB = 1 << 20
STEADY_S = 3.0
"""How long the gateways may have more connections than there are users: a moving user has two for a moment."""

RESTARTED = "restarted"
"""A moment at which everything is measured, in addition to the phases: the gateways serve again."""


@dataclass(frozen=True)
class Look:
    """All processes at one moment; `kernel_bytes` and `machine_cpu_s` are of the whole machine."""

    at_s: float
    of: dict[str, processes.Figures]
    machine_cpu_s: float
    broker_cpu_s: float
    open_connections: dict[str, int]
    """Connections of each gateway, where they were requested."""
    entered: int
    """Connections that these gateways have accepted since their start, except from users that followed a `move`."""


class Figures:
    """Measures a deployment at the beginning of each phase. Create it before the first user starts."""

    def __init__(self, deployment: Deployment, users: int) -> None:
        self._deployment, self._users = deployment, users
        self._looks: dict[str, Look] = {}
        self.look(Phase.RAMP)

    def look(self, phase: str, moved: int = 0) -> None:
        """Measure at the beginning of a phase; `moved` users have followed a `move` so far."""
        counted = self._count(phase)
        self._looks[phase] = Look(
            time.monotonic(),
            {name: processes.look(part.pid) for name, part in self._deployment.parts.items() if part.is_running()},
            processes.machine_cpu_s(),
            processes.session_cpu_s(self._deployment.broker.pid),
            {name: metrics["open_connections"] for name, metrics in counted.items()},
            sum(metrics["opened_total"] for metrics in counted.values()) - moved,
        )

    def _count(self, phase: str) -> dict[str, dict[str, int]]:
        """Return the metrics of each gateway, in phases where they matter; at the end, once no user is connecting."""
        if phase not in (Phase.RAMP, Phase.HOLD, Phase.FINISH):
            return {}
        deadline = time.monotonic() + STEADY_S
        while True:
            counted = {name: part.metrics() for name, part in self._deployment.gateways.items()}
            found = sum(metrics["open_connections"] for metrics in counted.values())
            if phase != Phase.FINISH or found == self._users or time.monotonic() > deadline:
                return counted

    def tell(self, report: Report, outcome: dict[str, Any], restart_s: float) -> None:
        """Add all figures to a report; `outcome` is from the locust master, `restart_s` is how long no gateway
        served.
        """
        users = self._users
        for name in self._deployment.parts:
            report.rows.append(self._row(name))
        broker = {phase: look.broker_cpu_s for phase, look in self._looks.items()}
        machine = {phase: look.machine_cpu_s for phase, look in self._looks.items()}
        report.rows.append({"process": "RabbitMQ", **self._spent(broker, Phase.OUTAGE)})
        report.rows.append({"process": "whole machine", **self._spent(machine, Phase.OUTAGE)})
        report.goals.update(outcome["goals"])
        held, back = self._looks.get(Phase.HOLD), self._looks.get(Phase.FINISH)
        report.require(
            f"one connection each: when the hold began the gateways had {users:,}, and had let in as many",
            held is not None and sum(held.open_connections.values()) == held.entered == users,
        )
        report.require(
            f"at the end the gateways had {users:,} connections",
            back is not None and sum(back.open_connections.values()) == users,
        )
        report.remarks += [*_legs(outcome, restart_s), *_requests(outcome), *_counts(outcome), *self._kernel()]
        report.remarks += [f"said by {line}" for line in self._deployment.complaints()[:10]]

    def _row(self, name: str) -> dict[str, Any]:
        held = self._looks.get(Phase.HOLD)
        is_gateway = name in self._deployment.gateways
        users = held.open_connections.get(name) if held is not None else None
        before, later = self._of(Phase.RAMP, name), self._of(Phase.STORM, name) or self._of(Phase.FINISH, name)
        cpu_s = {phase: look.of[name].cpu.total_s for phase, look in self._looks.items() if name in look.of}
        each = (later.own_bytes - before.own_bytes) / users if users and later and before else None
        return {
            "process": name,
            "users": users,
            "own MiB": later.own_bytes / MIB if later else None,
            "B a user": each,
            **self._spent(cpu_s, RESTARTED if is_gateway else Phase.OUTAGE),
        }

    def _of(self, phase: str, name: str) -> processes.Figures | None:
        look = self._looks.get(phase)
        return look.of.get(name) if look is not None else None

    def _spent(self, cpu_s: dict[str, float], outage: str) -> dict[str, float | None]:
        """Processor time by phase; of the outage from this look on, since a gateway is another process then."""

        def between(first: str, *lasts: str) -> float | None:
            last = next((name for name in lasts if name in cpu_s), None)
            return cpu_s[last] - cpu_s[first] if last is not None and first in cpu_s else None

        held_s = between(Phase.HOLD, Phase.STORM, Phase.OUTAGE, Phase.FINISH)
        return {
            "ramp CPU s": between(Phase.RAMP, Phase.HOLD),
            "hold CPU %": held_s / self._hold_s() * 100 if held_s is not None else None,
            "storm CPU s": between(Phase.STORM, Phase.OUTAGE, Phase.FINISH),
            "outage CPU s": between(outage, Phase.FINISH),
        }

    def _hold_s(self) -> float:
        ends = [self._looks[phase].at_s for phase in (Phase.STORM, Phase.OUTAGE, Phase.FINISH) if phase in self._looks]
        return min(ends) - self._looks[Phase.HOLD].at_s

    def _kernel(self) -> list[str]:
        before, held = self._looks[Phase.RAMP], self._looks.get(Phase.HOLD)
        if held is None:
            return []
        grown = next(iter(held.of.values())).kernel_bytes - next(iter(before.of.values())).kernel_bytes
        return [
            f"kernel memory of the whole machine grew by {grown / self._users / 1024:.1f} KB a user, both ends of each"
        ]


def _legs(outcome: dict[str, Any], restart_s: float) -> list[str]:
    texts = {
        Phase.RAMP: "all were connected {took_s:.1f} s after the first came",
        Phase.HOLD: "held for {took_s:.1f} s, never fewer than {least_connected:,} connected",
        Phase.STORM: "all were back {took_s:.1f} s after the storm began",
        Phase.OUTAGE: "all were back {took_s:.1f} s after the kill -9 of every gateway, which served again after "
        f"{restart_s:.1f} s",
        Phase.FINISH: "the last job was answered {took_s:.1f} s after the last could be submitted",
    }
    given_up = "{phase}: given up after {took_s:.1f} s"
    return [(texts[Phase(leg["phase"])] if leg["is_met"] else given_up).format(**leg) for leg in outcome["legs"]]


def _requests(outcome: dict[str, Any]) -> list[str]:
    return [
        f"{name}: {found['count']:,}, {found['failures']:,} failed; ms "
        + ", ".join(f"{which} {found[which]:,.0f}" for which in ("p50", "p95", "p99", "max"))
        for name, found in sorted(outcome["requests"].items())
    ]


def _counts(outcome: dict[str, Any]) -> list[str]:
    total = outcome["total"]
    return [
        f"{total['submitted']:,} jobs submitted, {total['answered']:,} done, others: {_listed(total['failed'])}",
        f"tries that brought no connection: {_listed(total['refused'])}",
        f"{total['cut']:,} users cut off by the storm, {total['moved']:,} moved; connections that ended otherwise, by "
        f"phase and close code: {_listed(total['lost'])}",
    ]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counts.items())) or "none"
