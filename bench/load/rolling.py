"""``python -m bench rolling``: a rolling restart of all gateways, which clients must not notice.

The whole system runs in separate processes over a real RabbitMQ (`bench.load.swarm.deployment`). Most clients are light
and idle (`bench.support.clients.moving_clients`: they follow `move` as the Python client does); some are Python clients
that always have a job in flight (`bench.support.clients.job_clients`). Each gateway in turn receives SIGTERM, ends, and
is started again; when discovery knows it, the next one follows. At the end discovery balances the clients again. The
report fails when a client or a result is lost, a result comes twice, a client has to connect more than once for one
restart, or too many clients are disconnected at one moment.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from subprocess import Popen
from typing import Any

from bench.load.swarm.deployment import Deployment, RoostPart, deployed
from bench.report import Report
from bench.support import processes
from bench.support.clients.job_clients import Asked
from bench.support.clients.moving_clients import Moved
from roost.discovery.core.balance import SETTLE_S
from roost.gateway.settings import Settings

AWAY_SHARE = 0.1
"""Most clients that may be disconnected at any moment, as a share."""

EVEN = 1.02
"""Most connections of a gateway over the mean, once they are balanced."""

END_S = Settings().drain_s + 4.0
"""Seconds from SIGTERM to the end of the process."""

PATIENCE_S = 90.0
ALL_CPUS = processes.SERVER_CPUS | processes.LOAD_CPUS
SLOTS = 128
"""Slots of the master and of the worker, so that all jobs run at the same time."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--clients", type=int, default=10_000, help="in all [10000]")
    parser.add_argument("--jobs", type=int, default=100, help="clients of them that have a job in flight [100]")
    parser.add_argument("--gateways", type=int, default=3, help="processes, each restarted once [3]")
    parser.add_argument("--levels", type=int, default=50, help="of a job, each a tenth of a second [50]")


def run(options: argparse.Namespace) -> Report:
    """Restart all gateways; the report has failed when a goal was missed."""
    if options.gateways < 2 or not 0 < options.jobs < options.clients:
        raise SystemExit("at least --gateways 2, and more --clients than --jobs")
    report = Report(f"Rolling restart of {options.gateways} gateways, {options.clients:,} clients, {options.jobs} jobs")
    slots = {"ROOST_MASTER_SLOTS": str(SLOTS), "ROOST_WORKER_SLOTS": str(SLOTS)}
    with deployed(options.gateways, slots) as deployment, _clients(deployment, options) as clients:
        clients.wait(options.clients)
        for name in deployment.gateways:
            _restart(report, deployment, clients, name)
        _balance(report, deployment, clients)
        _finish(report, clients)
        report.remarks += deployment.complaints()[:20]
    report.remarks += [
        "moved: clients that were told where to go and went; asked anew: that had no connection any more and asked "
        "discovery; away: clients without a connection, at the worst moment",
        "told s: from SIGTERM to the end of the process; back s: to when discovery knows the next one",
    ]
    return report


@dataclass(frozen=True)
class Seen:
    """What all clients have seen since ``mark``."""

    light: Moved
    python: Asked

    @property
    def connected(self) -> int:
        return self.light.connected + self.python.connected

    @property
    def away(self) -> int:
        """The most clients disconnected at one moment; all Python clients that were disconnected count as if at the
        same moment.
        """
        return self.light.most_away + sum(self.python.left.values())

    @property
    def most_reconnects(self) -> int:
        return max(self.light.most_reconnects, self.python.most_reconnects)


@dataclass(frozen=True)
class Clients:
    """Both load processes."""

    moving_clients: Popen[str]
    job_clients: Popen[str]
    count: int

    def mark(self) -> None:
        """Reset the counters."""
        for process in (self.moving_clients, self.job_clients):
            processes.tell(process, "mark")

    def seen(self, python: str = "stats") -> Seen:
        """Return what the clients have seen."""
        asked = Asked(**json.loads(processes.tell(self.job_clients, python)))
        return Seen(Moved(**json.loads(processes.tell(self.moving_clients, "stats"))), asked)

    def wait(self, count: int) -> Seen:
        """Wait until `count` clients are connected, or a time limit is over."""
        deadline = time.monotonic() + PATIENCE_S
        while (seen := self.seen()).connected < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return seen


@contextmanager
def _clients(deployment: Deployment, options: argparse.Namespace) -> Iterator[Clients]:
    job_clients = [
        sys.executable,
        "-m",
        "bench.support.clients.job_clients",
        str(options.jobs),
        str(options.levels),
        deployment.url,
    ]
    moving_clients = [sys.executable, "-m", "bench.support.clients.moving_clients", "0", str(deployment.discovery.port)]
    with ExitStack() as stack:
        clients = Clients(
            stack.enter_context(processes.running(moving_clients, ALL_CPUS)),
            stack.enter_context(processes.running(job_clients, ALL_CPUS)),
            options.clients,
        )
        processes.tell(clients.moving_clients, f"come {options.clients - options.jobs}")
        processes.said(clients.job_clients)
        yield clients


def _components(deployment: Deployment) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{deployment.url}/v1/components", timeout=30) as answer:
        return [part for part in json.load(answer)["components"] if part["kind"] == "gateway"]


def _wait_until_known(deployment: Deployment, before: set[str]) -> None:
    """Wait until discovery names a gateway that it did not know before, and no gateway is leaving."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        gateways = _components(deployment)
        if {part["incarnation"] for part in gateways} - before and not any(part["draining"] for part in gateways):
            return
        time.sleep(0.05)
    raise TimeoutError("discovery does not know the restarted gateway")


def _held(gateways: dict[str, RoostPart]) -> dict[str, int]:
    return {name: part.metrics()["open_connections"] for name, part in gateways.items()}


def _restart(report: Report, deployment: Deployment, clients: Clients, name: str) -> None:
    part, goal = deployment.gateways[name], f"{name} is restarted"
    print(goal, file=sys.stderr, flush=True)
    before = {gateway["incarnation"] for gateway in _components(deployment)}
    held = _held(deployment.gateways)
    clients.mark()
    in_flight = clients.seen().python.in_flight
    begun_s = time.monotonic()
    status = part.terminate(END_S + PATIENCE_S)
    ended_s = time.monotonic()
    part.start()
    _wait_until_known(deployment, before)
    back_s = time.monotonic()
    seen = clients.wait(clients.count)
    report.rows.append(_row(name, held, seen, in_flight, ended_s - begun_s, back_s - begun_s))
    report.require(f"{goal}: it ends with status 0 within {END_S:g} s", status == 0 and ended_s - begun_s <= END_S)
    _judge(report, goal, clients, seen)
    report.require(
        f"... {seen.python.clients} jobs are in flight when it is told to end", in_flight >= seen.python.clients
    )


def _judge(report: Report, goal: str, clients: Clients, seen: Seen) -> None:
    odd = {f"refused, {why}": count for why, count in seen.light.refusals.items()}
    odd |= {f"closed {code}": count for code, count in seen.light.left.items()}
    odd |= {f"closed {code}, Python": count for code, count in seen.python.left.items()}
    report.remarks += [f"{goal}: {count} x {what}" for what, count in odd.items()]
    report.require(f"{goal}: all {clients.count:,} clients are connected afterwards", seen.connected == clients.count)
    report.require("... no client has to connect more than once", seen.most_reconnects <= 1)
    report.require(f"... at most {AWAY_SHARE:.0%} of the clients are away", seen.away <= AWAY_SHARE * clients.count)


def _row(name: str, held: dict[str, int], seen: Seen, in_flight: int, ended_s: float, back_s: float) -> dict[str, Any]:
    return {
        "restarted": name,
        "held before": " + ".join(f"{count:,}" for count in held.values()),
        "moved": seen.light.moved,
        "asked anew": seen.light.lost + sum(seen.python.left.values()),
        "most reconnects": seen.most_reconnects,
        "away": seen.away,
        "jobs in flight": in_flight,
        "told s": ended_s,
        "back s": back_s,
    }


def _balance(report: Report, deployment: Deployment, clients: Clients) -> None:
    """Wait until discovery has balanced the clients again."""
    print("all are balanced", file=sys.stderr, flush=True)
    clients.mark()
    held, begun_s = _held(deployment.gateways), time.monotonic()
    deadline, now = begun_s + SETTLE_S + PATIENCE_S, held
    while max(now.values()) * len(now) > EVEN * sum(now.values()) and time.monotonic() < deadline:
        time.sleep(0.2)
        now = _held(deployment.gateways)
    took_s = time.monotonic() - begun_s
    seen = clients.wait(clients.count)
    report.rows.append(_row("none: balanced", held, seen, seen.python.in_flight, 0.0, took_s))
    even = max(now.values()) * len(now) / sum(now.values())
    report.require(f"then discovery balances them: the largest at most {EVEN - 1:.0%} over the mean", even <= EVEN)
    _judge(report, "balancing", clients, seen)
    report.remarks.append(f"after it: {' + '.join(f'{count:,}' for count in now.values())}")


def _finish(report: Report, clients: Clients) -> None:
    asked = clients.seen("finish").python
    report.require(
        f"all {asked.submitted:,} results come, whole and once",
        asked.answered == asked.submitted and not asked.wrong and not asked.doubled,
    )
    report.remarks.append(
        f"{asked.submitted:,} jobs submitted; results: {asked.answered:,} whole, {len(asked.wrong)} not, "
        f"{asked.doubled} twice"
    )
    report.remarks += [f"wrong: {text}" for text in asked.wrong[:10]]
