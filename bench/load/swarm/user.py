"""The integration with locust: user class, load shape, and messages between processes.

Locust's own figures come from `events.request`, as usual; the test is controlled by counters
(`bench.load.swarm.control`).
"""

from __future__ import annotations

import os
import random
import resource
from contextlib import suppress
from itertools import count, cycle
from typing import Any, ClassVar

import gevent
from locust import LoadTestShape, User, constant, events, runners, task
from locust.env import Environment
from locust.exception import RPCError, StopUser
from locust.runners import MasterRunner, WorkerRunner

from bench.load.swarm import options
from bench.load.swarm.control import COUNTERS, PHASE, REPORT_S, STORM, Control
from bench.load.swarm.idler import Dismissed, Idler
from bench.load.swarm.phases import Phase
from bench.load.swarm.swarm import Swarm

TYPE = "WS"
"""The type under which locust shows these requests."""

RESERVED_DESCRIPTORS = 500
"""Descriptors of each process that are reserved for locust, Python, and users with two connections."""

WORKER_LOST_AFTER_S = 120
"""A worker without a heartbeat for this long counts as lost. Locust's own 3 s are too short for a worker that starts
thousands of users on a busy machine. And when such a worker comes back, locust 2.47 counts it twice and gives it a
double share of all users (`locust.runners`, message ``heartbeat``): with three workers 25,000 of 50,000."""


def _room() -> int:
    """Return how many users this process has descriptors for, after raising the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(0, hard - RESERVED_DESCRIPTORS)


HERE = Swarm(_room())
"""The users of this process."""

_sources = cycle([""])
_numbers = count(1)


class IdleClient(User):
    """One client of Roost: see `bench.load.swarm.idler`."""

    host = os.environ.get("ROOST_SERVER", "http://127.0.0.1:8000")
    wait_time = constant(0)

    @task
    def live(self) -> None:
        """Run until the test ends."""
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
    """The load shape of the test, which follows the phases of `bench.load.swarm.phases`."""

    use_common_options: ClassVar[bool] = True

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and the spawn rate; None when the last phase is over, which ends the test."""
        assert self.runner is not None
        control = CONTROL
        assert control is not None
        return control.tick()


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
        runner.register_message(PHASE, _hear_phase)
        runner.register_message(STORM, _hear_storm)
    if isinstance(runner, WorkerRunner):
        gevent.spawn(_report_counters, lambda message: runner.send_message(COUNTERS, message))
        return
    control = CONTROL = Control(environment, IdleClient.host, chosen.outcome)
    if isinstance(runner, MasterRunner):
        runners.HEARTBEAT_LIVENESS = WORKER_LOST_AFTER_S // runners.HEARTBEAT_INTERVAL
        runner.register_message(COUNTERS, lambda environment, msg: control.hear(msg.node_id, msg.data))
    else:
        gevent.spawn(_report_counters, lambda message: control.hear("here", message))
    gevent.spawn(control.watch)


def _report_counters(send: Any) -> None:
    while True:
        with suppress(RPCError):  # the master is unreachable
            send(HERE.tally.as_message())
        gevent.sleep(REPORT_S)


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
