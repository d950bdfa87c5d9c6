"""``python -m bench users`` (``make load USERS=50000``): very many locust users on a whole system on this machine.

It starts discovery, as many gateways as the users need descriptors, a lock server, a master and a worker over a private
RabbitMQ (`bench.load.swarm.deployment`), and locust with `bench/load/locustfile.py`, with one master and as many
workers as the users need. All users connect through discovery, are held with keepalive and occasional jobs, have their
connections cut in a storm, and reconnect after every gateway was killed with -9 and started again. The report combines
what locust's users saw, the gateways' counters, and each process's cost from the kernel. All processes end with this
one.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bench.load.swarm.deployment import (
    JOB_KIND,
    JOB_SPEC,
    ROOT,
    Deployment,
    deployed,
    end_all,
    gateways_for,
)
from bench.load.swarm.figures import RESTARTED, Figures
from bench.report import Report
from bench.support.clients.client_bytes import address
from bench.support.services import LOOPBACK, Service, free_port

PER_WORKER = 18_000
"""Users per locust process, whose descriptors may be limited to 20,000."""

SOURCES_EACH = 4
"""Source addresses of each locust process: each has about 28,000 ports for every gateway, and for discovery."""

RESERVED_DESCRIPTORS = 2_000
MARGIN_S = 120.0
"""Extra time for the starts and stops that have no limit of their own."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--users", type=int, default=50_000, help="[50000]")
    parser.add_argument("--rate", type=float, default=500.0, help="users that come in a second [500]")
    parser.add_argument("--hold-s", type=float, default=300.0, help="seconds for which all are held [300]")
    parser.add_argument("--storm", default="one", choices=["none", "one", "all"], help="gateways to cut off [one]")
    parser.add_argument("--job-every-s", type=float, default=1800.0, help="mean seconds between jobs of a user [1800]")
    parser.add_argument("--ping-every-s", type=float, default=300.0, help="mean seconds between its own pings [300]")
    parser.add_argument("--patience-s", type=float, default=240.0, help="until all must be connected again [240]")


def run(options: argparse.Namespace) -> Report:
    """Measure; the report has failed when a user was lost or a job was not answered."""
    for name in ("users", "rate", "hold_s", "patience_s"):
        if getattr(options, name) <= 0:
            raise SystemExit(f"--{name.replace('_', '-')} must be more than 0")
    _need_descriptors()
    with _ended_by_signals(), deployed(gateways_for(options.users)) as deployment:
        _say(f"{len(deployment.gateways)} gateways serve, discovery is {deployment.url}")
        with _locusts(options, deployment) as master:
            return _follow(options, deployment, master)


def _need_descriptors() -> None:
    """Check that the descriptors that each process needs fit under its hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = PER_WORKER + RESERVED_DESCRIPTORS
    if hard < needed:
        raise SystemExit(
            f"RLIMIT_NOFILE is {hard}: gateways and locust processes need {needed:,} descriptors each; "
            f"raise it (ulimit -Hn {needed}, LimitNOFILE= of a service, or nofile in /etc/security/limits.conf)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end this process with everything it started."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Locust(Service):
    """One locust process. `is_done` of the master says whether its test is over."""

    def __init__(self, name: str, *arguments: str) -> None:
        super().__init__(name)
        self._arguments = arguments
        self._read_bytes = 0

    def command(self) -> list[str]:
        file = str(ROOT / "bench/load/locustfile.py")
        return [sys.executable, "-m", "locust", "-f", file, "--only-summary", "--skip-log-setup", *self._arguments]

    def news(self) -> Iterator[dict[str, Any]]:
        """Yield what the master has announced since the last call (`bench.load.swarm.user`)."""
        data = self.log.read_bytes()[self._read_bytes :]
        whole = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            if line.startswith(b'{"phase"'):
                yield json.loads(line)


@contextmanager
def _locusts(options: argparse.Namespace, deployment: Deployment) -> Iterator[Locust]:
    """Run locust's master and workers; their figures are listed with the deployment's processes."""
    count, port = -(-options.users // PER_WORKER), str(free_port())
    master = Locust(
        "locust-master",
        *("--master", "--headless", "--master-bind-host", LOOPBACK, "--master-bind-port", port),
        *("--expect-workers", str(count), "--expect-workers-max-wait", "60", "--host", deployment.url),
        *("--users", str(options.users), "--spawn-rate", str(options.rate), "--hold-s", str(options.hold_s)),
        *("--storm", options.storm, "--outage", "--patience-s", str(options.patience_s)),
        *("--job-kind", JOB_KIND, "--job-spec", JOB_SPEC, "--job-every-s", str(options.job_every_s)),
        *("--ping-every-s", str(options.ping_every_s), "--outcome", "outcome.json"),
    )
    workers = {
        f"locust {number + 1}": Locust(
            "locust-worker",
            *("--worker", "--master-host", LOOPBACK, "--master-port", port),
            *("--sources", ",".join(address(number * SOURCES_EACH + one) for one in range(SOURCES_EACH))),
        )
        for number in range(count)
    }
    deployment.parts["locust master"] = master
    deployment.parts.update(workers)
    master.launch()
    for worker in workers.values():
        worker.launch()
    try:
        yield master
    finally:
        end_all([master, *workers.values()])


def _follow(options: argparse.Namespace, deployment: Deployment, master: Locust) -> Report:
    """Follow the phases that locust announces, and judge the goals."""
    figures = Figures(deployment, options.users)
    outage_s = 0.0
    deadline = time.monotonic() + options.users / options.rate + options.hold_s + 4 * options.patience_s + MARGIN_S
    while master.is_running() and time.monotonic() < deadline:
        for news in master.news():
            _say(f"{news['connected']:,} connected; after {news['after_s']:.1f} s: {news['phase']}")
            figures.look(news["phase"], news["moved"])
            if news["phase"] == "outage":
                outage_s = _kill_and_restart(deployment, figures)
        time.sleep(0.1)
    report = Report(f"{options.users:,} locust users on {len(deployment.gateways)} gateways")
    file = master.folder / "outcome.json"
    if not file.exists():
        report.require(f"locust came to its end: {master.log.read_text(errors='replace')[-500:]}", False)
        return report
    figures.tell(report, json.loads(file.read_text()), outage_s)
    return report


def _kill_and_restart(deployment: Deployment, figures: Figures) -> float:
    """Kill all gateways (-9), then start them again; return the seconds until they serve."""
    began_s = time.monotonic()
    deployment.kill_gateways()
    deployment.start_gateways()
    figures.look(RESTARTED)
    took_s = time.monotonic() - began_s
    _say(f"all gateways were killed with -9; {took_s:.1f} s later all serve again")
    return took_s


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
