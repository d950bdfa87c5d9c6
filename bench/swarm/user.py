"""Locust's side of the swarm: the user class, the load shape, and what processes tell each other.

Each process that has users sends its tally to the master twice a second; where there is one process, it is both. The
master watches the sum, and tells all when another phase begins or whose connections a storm cuts. Figures that locust
shows come from `events.request`, as usual.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
from itertools import count, cycle
from math import inf
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import LoadTestShape, User, constant, events, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import WORKER_REPORT_INTERVAL, MasterRunner, WorkerRunner

from bench.swarm import options
from bench.swarm.course import Course, Phase
from bench.swarm.idler import Dismissed, Idler
from bench.swarm.swarm import EVERYBODY, Swarm
from bench.swarm.tally import Tally

TYPE = "WS"
"""The type under which locust shows these requests."""

RESERVED_DESCRIPTORS = 500
"""Of each process, for what locust and Python need, and for a user between two connections."""

TALLY_S, WATCH_S = 0.5, 0.25
SETTLE_S = WORKER_REPORT_INTERVAL + 0.5
"""After the course, until the last figures of all workers have come: when locust stops it waits for none."""

STALE_S = 20.0
"""A process that has not told its tally for so long is gone with its users."""

_TALLY, _PHASE, _STORM = "roost_tally", "roost_phase", "roost_storm"


def _room() -> int:
    """Users this process has descriptors for, after the soft limit was raised to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(0, hard - RESERVED_DESCRIPTORS)


HERE = Swarm(_room())
"""The users of this process."""

_sources = cycle([""])
_numbers = count(1)


class IdleClient(User):
    """One client of Roost: see `bench.swarm.idler`."""

    host = os.environ.get("ROOST_SERVER", "http://127.0.0.1:8000")
    wait_time = constant(0)

    @task
    def live(self) -> None:
        """Until the test ends."""
        chosen = self.environment.parsed_options
        assert chosen is not None
        discovery = options.replicas(self.host)
        number = next(_numbers)
        first = number % len(discovery)
        idler = Idler(
            HERE,
            options.habits(chosen),
            discovery[first:] + discovery[:first],
            next(_sources),
            self._fire,
            random.Random(f"{HERE.name} {number}"),
        )
        HERE.guests.add(idler)
        try:
            idler.run()
        except Dismissed as problem:
            self._fire("dismissed", 0.0, problem)
            raise StopUser from problem
        finally:
            HERE.guests.discard(idler)

    def _fire(self, name: str, took_s: float, problem: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type=TYPE, name=name, response_time=took_s * 1000, response_length=0, exception=problem, context={}
        )


class Tides(LoadTestShape):
    """Ramp up, hold, storm, end: `bench.swarm.course`."""

    use_common_options: ClassVar[bool] = True

    def tick(self) -> tuple[int, float] | None:
        """Users and rate, until the course is over."""
        assert self.runner is not None
        control = CONTROL
        assert control is not None
        return control.tick()


class Control:
    """What the master does, or the only process."""

    def __init__(self, environment: Environment, file: str) -> None:
        """`file` is where outcomes are written to, if anywhere."""
        self._environment, self._file = environment, file
        self._tallies: dict[str, tuple[float, Tally]] = {}
        self._course: Course | None = None
        self._over_at = inf

    def tick(self) -> tuple[int, float] | None:
        """Called by locust each second while a test runs; None ends it."""
        if self._course is None:
            self._course = self._new_course()
            if self._course is None:
                return None
        settle_s = SETTLE_S if isinstance(self._environment.runner, MasterRunner) else 0.0
        if self._course.is_over and time.monotonic() > self._over_at + settle_s:
            return None
        return self._course.plan.users, self._course.plan.rate

    def _new_course(self) -> Course | None:
        """None when that cannot work."""
        chosen = self._environment.parsed_options
        assert chosen is not None
        problem = options.what_is_wrong(chosen, options.replicas(self._environment.host or IdleClient.host))
        if problem:
            self._complain(problem)
            return None
        plan = options.plan(chosen)
        processes = 1
        if isinstance(self._environment.runner, MasterRunner):
            processes = self._environment.runner.worker_count
            with gevent.Timeout(10 * TALLY_S, False):
                while len(self._tallies) < processes:
                    gevent.sleep(WATCH_S)
        else:
            self.hear("here", HERE.tally.as_message())
        room = self._total().room
        if room < plan.users:
            self._complain(
                f"{plan.users:,} users need more descriptors than there are: {processes} process(es) have room for "
                f"{room:,}. Raise the limit (ulimit -n), or start more workers (bench/README.md)"
            )
            return None
        return Course(plan, processes, time.monotonic())

    def _complain(self, text: str) -> None:
        print(f"locustfile: {text}", file=sys.stderr, flush=True)
        self._environment.process_exit_code = 2

    def hear(self, process: str, message: dict[str, Any]) -> None:
        """A process tells its tally."""
        self._tallies[process] = (time.monotonic(), Tally.from_message(message))

    def _total(self) -> Tally:
        now = time.monotonic()
        return Tally.sum(tally for heard_at, tally in self._tallies.values() if now - heard_at < STALE_S)

    def watch(self) -> None:
        """Lead through the phases, for ever."""
        while True:
            gevent.sleep(WATCH_S)
            course = self._course
            if course is None or course.is_over:
                continue
            if course.observe(self._total(), time.monotonic()):
                self._over_at = time.monotonic()
                self._enter(course)

    def _enter(self, course: Course) -> None:
        """A phase begins: everybody hears of it, and on standard output whoever started this."""
        self._tell(_PHASE, str(course.phase))
        ended = next(leg for leg in reversed(course.legs) if leg.phase is not course.phase)
        self._announce(course, ended.took_s)
        if course.phase is Phase.STORM:
            self._tell(_STORM, EVERYBODY if course.plan.storm == "all" else course.total.fullest())

    def _announce(self, course: Course, took_s: float) -> None:
        total = course.total
        news = {"phase": course.phase, "after_s": took_s, "connected": total.connected_count, "moved": total.moved}
        print(json.dumps(news), flush=True)

    def _tell(self, name: str, what: str) -> None:
        assert self._environment.runner is not None
        self._environment.runner.send_message(name, what)

    def _end(self, course: Course) -> None:
        """Judge, and keep what was found."""
        assert self._environment.runner is not None
        outcome = {**course.as_dict(), "requests": self._requests()}
        outcome["goals"]["no user ended by an error of its own"] = not self._environment.runner.exceptions
        self._environment.process_exit_code = 0 if all(outcome["goals"].values()) else 1
        if self._file:
            Path(self._file).write_text(json.dumps(outcome, indent=2) + "\n")
        for goal, is_met in outcome["goals"].items():
            print(f"{'met' if is_met else 'MISSED'}: {goal}", flush=True)

    def _requests(self) -> dict[str, dict[str, float]]:
        """Locust's figures of each kind of request; times in ms, as locust rounds them."""
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
        """The test has ended, and the last figures of all processes have come; perhaps somebody stopped it early."""
        if self._course is not None and self._course.is_over:
            self._end(self._course)
        self._course = None


CONTROL: Control | None = None


def _add_options(parser: Any) -> None:
    options.add_options(parser)


def _begin(environment: Environment, **_: Any) -> None:
    global CONTROL, _sources
    chosen = environment.parsed_options
    runner = environment.runner
    assert chosen is not None
    assert runner is not None
    _sources = cycle([source.strip() for source in chosen.sources.split(",") if source.strip()] or [""])
    if not isinstance(runner, MasterRunner):
        runner.register_message(_PHASE, _hear_phase)
        runner.register_message(_STORM, _hear_storm)
    if isinstance(runner, WorkerRunner):
        gevent.spawn(_tell_tally, lambda message: runner.send_message(_TALLY, message))
        return
    control = CONTROL = Control(environment, chosen.outcome)
    if isinstance(runner, MasterRunner):
        runner.register_message(_TALLY, lambda environment, msg: control.hear(msg.node_id, msg.data))
    else:
        gevent.spawn(_tell_tally, lambda message: control.hear("here", message))
    gevent.spawn(control.watch)


def _tell_tally(send: Any) -> None:
    while True:
        send(HERE.tally.as_message())
        gevent.sleep(TALLY_S)


def _hear_phase(environment: Environment, msg: Any) -> None:
    HERE.enter(Phase(msg.data))


def _hear_storm(environment: Environment, msg: Any) -> None:
    HERE.storm(msg.data)


def _test_starts(environment: Environment, **_: Any) -> None:
    if not isinstance(environment.runner, MasterRunner):
        HERE.begin()


def _test_stops(environment: Environment, **_: Any) -> None:
    if CONTROL is not None:
        CONTROL.stopped()


hooks: Any = events  # locust leaves `add_listener` without types
hooks.init_command_line_parser.add_listener(_add_options)
hooks.init.add_listener(_begin)
hooks.test_start.add_listener(_test_starts)
hooks.test_stop.add_listener(_test_stops)
