"""Controls a load test, in locust's master or in its only process.

Each process with users reports its counters twice a second. The sum decides when the next phase begins; all processes
are told of it, and of which gateway's connections a storm cuts.
"""

from __future__ import annotations

import json
import sys
import time
from math import inf
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import WORKER_REPORT_INTERVAL, MasterRunner

from bench.load.swarm import options
from bench.load.swarm.counters import Counters
from bench.load.swarm.phases import Phase, Phases
from bench.load.swarm.swarm import EVERYBODY

COUNTERS, PHASE, STORM = "roost_counters", "roost_phase", "roost_storm"
"""Messages between processes: counters to the master, and from it a phase, or the gateway of a storm."""

REPORT_S, WATCH_S = 0.5, 0.25
SETTLE_S = WORKER_REPORT_INTERVAL + 0.5
"""How long to wait after the last phase for the final figures of all workers: locust does not wait when it stops."""

STALE_S = 20.0
"""A process that has not reported for this long counts as dead, and its counters are left out."""


class Control:
    """The control of a test, in the master or the only process."""

    def __init__(self, environment: Environment, host: str, file: str) -> None:
        """`host` is the default URL of discovery, `file` the file that results are written to, if any."""
        self._environment, self._host, self._file = environment, host, file
        self._counters: dict[str, tuple[float, Counters]] = {}
        self._phases: Phases | None = None
        self._over_at = inf

    def tick(self) -> tuple[int, float] | None:
        """Called by locust each second while a test runs; returns users and rate, or None to end it."""
        if self._phases is None:
            self._phases = self._new_phases()
            if self._phases is None:
                return None
        settle_s = SETTLE_S if isinstance(self._environment.runner, MasterRunner) else 0.0
        if self._phases.is_over and time.monotonic() > self._over_at + settle_s:
            return None
        return self._phases.plan.users, self._phases.plan.rate

    def _new_phases(self) -> Phases | None:
        """Return the phases of a new test; None when its options cannot work."""
        chosen = self._environment.parsed_options
        assert chosen is not None
        problem = options.what_is_wrong(chosen, options.replicas(self._environment.host or self._host))
        if problem:
            self._complain(problem)
            return None
        plan = options.plan(chosen)
        processes = 1
        if isinstance(self._environment.runner, MasterRunner):
            processes = self._environment.runner.worker_count
        with gevent.Timeout(10 * REPORT_S, False):
            while len(self._counters) < processes:
                gevent.sleep(WATCH_S)
        room = self._total().room
        if room < plan.users:
            self._complain(
                f"{plan.users:,} users need more descriptors than there are: {processes} process(es) have room for "
                f"{room:,}. Raise the limit (ulimit -n), or start more workers (bench/README.md)"
            )
            return None
        return Phases(plan, processes, time.monotonic())

    def _complain(self, text: str) -> None:
        print(f"locustfile: {text}", file=sys.stderr, flush=True)
        self._environment.process_exit_code = 2

    def hear(self, process: str, message: dict[str, Any]) -> None:
        """Take the counters of a process."""
        self._counters[process] = (time.monotonic(), Counters.from_message(message))

    def _total(self) -> Counters:
        now = time.monotonic()
        return Counters.sum(counters for heard_at, counters in self._counters.values() if now - heard_at < STALE_S)

    def watch(self) -> None:
        """Run through the phases, in an endless loop."""
        while True:
            gevent.sleep(WATCH_S)
            phases = self._phases
            if phases is None or phases.is_over:
                continue
            if phases.observe(self._total(), time.monotonic()):
                self._over_at = time.monotonic()
                self._enter(phases)

    def _enter(self, phases: Phases) -> None:
        """Begin a phase: tell all processes, and print it to standard output."""
        self._tell(PHASE, str(phases.phase))
        ended = next(leg for leg in reversed(phases.legs) if leg.phase is not phases.phase)
        self._announce(phases, ended.took_s)
        if phases.phase is Phase.STORM:
            self._tell(STORM, EVERYBODY if phases.plan.storm == "all" else phases.total.fullest())

    def _announce(self, phases: Phases, took_s: float) -> None:
        total = phases.total
        news = {"phase": phases.phase, "after_s": took_s, "connected": total.connected_count, "moved": total.moved}
        print(json.dumps(news), flush=True)

    def _tell(self, name: str, what: str) -> None:
        assert self._environment.runner is not None
        self._environment.runner.send_message(name, what)

    def _end(self, phases: Phases) -> None:
        """Judge the goals, and store the results."""
        assert self._environment.runner is not None
        outcome = {**phases.as_dict(), "requests": self._requests()}
        outcome["goals"]["no user ended by an error of its own"] = not self._environment.runner.exceptions
        self._environment.process_exit_code = 0 if all(outcome["goals"].values()) else 1
        if self._file:
            Path(self._file).write_text(json.dumps(outcome, indent=2) + "\n")
        for goal, is_met in outcome["goals"].items():
            print(f"{'met' if is_met else 'MISSED'}: {goal}", flush=True)

    def _requests(self) -> dict[str, dict[str, float]]:
        """Return locust's figures for each kind of request; times in ms, as locust rounds them."""
        return {
            entry.name: {
                "count": entry.num_requests,
                "failures": entry.num_failures,
                "p50": entry.get_response_time_percentile(0.5),
                "p95": entry.get_response_time_percentile(0.95),
                "p99": entry.get_response_time_percentile(0.99),
                "max": entry.max_response_time,
            }
            for entry in self._environment.stats.entries.values()
        }

    def stopped(self) -> None:
        """Finish after the last figures of all processes; the test may have been stopped early."""
        if self._phases is not None and self._phases.is_over:
            self._end(self._phases)
        self._phases = None
