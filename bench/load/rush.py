"""``python -m bench rush``: all clients connect at one moment, through discovery, over real sockets.

Discovery and three bare gateways run, each as a process; clients run in as many load processes as they need, each
client with its own source address (`bench.support.clients.discovery_clients`: they behave as the Python client does).
First all clients connect at one moment. Then one gateway is killed (-9), and its clients reconnect at one moment; then
all gateways are killed and started again. Last, discovery is killed while some clients connect, and started again. The
report fails when the gateways are not balanced, a client is refused too often or waits too long, or a connected client
is affected by the outage of discovery.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from subprocess import Popen

from bench.load.swarm.deployment import RoostPart, end_all, start_all
from bench.report import Report
from bench.support import gateways, processes
from bench.support.clients.discovery_clients import Figures
from bench.support.clients.idle_processes import CROWD_COUNT, PROCESS_ADDRESSES
from bench.support.services import LOOPBACK, free_port
from roost.discovery.core.table import INTERVAL_S

EVEN, EVEN_AFTER_KILL = 1.02, 1.05
"""Most connections of a gateway over the mean."""

BACK_S = 15.0
OUTAGE_S, ALL_BACK_S = 5.0, 45.0
"""How long no gateway runs, besides the time of a start; and the seconds after it in which all clients must be back."""

REFUSALS = 2
NEWCOMERS = 500
AWAKE_S = INTERVAL_S + 0.5
"""How long a new client may wait beyond its backoff pauses: one heartbeat, and a moment for the handshakes."""

PATIENCE_S = 120.0
ALL_CPUS = processes.SERVER_CPUS | processes.LOAD_CPUS
SETTLE_S = 2 * INTERVAL_S


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--clients", type=int, default=30_000, help="that come at once [30000]")
    parser.add_argument("--gateways", type=int, default=3, help="processes [3]")
    parser.add_argument("--replicas", type=int, default=1, help="of discovery [1]")


def run(options: argparse.Namespace) -> Report:
    """Run all phases; the report has failed when a goal was missed."""
    if options.gateways < 2 or options.replicas < 1 or options.clients < options.gateways:
        raise SystemExit("at least --gateways 2, --replicas 1, and a client for each gateway")
    report = Report(f"{options.clients:,} clients at once, {options.gateways} gateways, discovery x {options.replicas}")
    with clustered(options.gateways, options.replicas) as cluster, _load_processes(options.clients, cluster) as clients:
        _all_come(report, cluster, clients, options.clients)
        _one_is_killed(report, cluster, clients)
        _all_are_killed(report, cluster, clients)
        _discovery_is_killed(report, cluster, clients)
    report.remarks += [
        "s: from the moment until the last client is connected, or from when the gateways serve again where all were "
        "killed; largest: of the gateways, over their mean",
        "refusals: tries that ended without a connection, whatever the reason, an answer too late among them",
    ]
    return report


class BareGateway(RoostPart):
    """``python -m gateway`` with the echo example, which requires tickets."""

    def __init__(self, shared: Mapping[str, str], replicas: Sequence[RoostPart]) -> None:
        urls = ",".join(f"http://{LOOPBACK}:{replica.port}" for replica in replicas)
        app = ("--app", gateways.ECHO, "--require-ticket", "--discovery", urls)
        super().__init__("gateway", shared, *app, "--port", str(free_port()), asked_at="--admin-port")

    def command(self) -> list[str]:
        return [sys.executable, "-m", "gateway", *self._arguments, "--log-level", "warning"]


@dataclass(frozen=True)
class Cluster:
    """The discovery replicas and gateways under load."""

    replicas: list[RoostPart]
    gateways: list[RoostPart]

    def held(self) -> list[int]:
        """Return the connections of each running gateway."""
        return [part.metrics()["open_connections"] for part in self.gateways if part.is_running()]


@contextmanager
def clustered(gateway_count: int, replica_count: int = 1) -> Iterator[Cluster]:
    """Run discovery and gateways until the context ends."""
    shared = {"ROOST_KEYS": f"rush:{secrets.token_hex(16)}", "ROOST_SECRET": secrets.token_hex(16)}
    replicas = [RoostPart("discovery", shared, asked_at="--port") for _ in range(replica_count)]
    doors: list[RoostPart] = [BareGateway(shared, replicas) for _ in range(gateway_count)]
    try:
        start_all(replicas)
        start_all(doors)
        yield Cluster(replicas, doors)
    finally:
        end_all([*doors, *replicas])


class LoadProcesses:
    """The load processes, and the sum of their figures."""

    def __init__(self, started: Sequence[Popen[str]]) -> None:
        self._started = started

    def __len__(self) -> int:
        return len(self._started)

    def come(self, counts: Sequence[int]) -> float:
        """Start `counts` clients in each process now; return the moment (monotonic seconds)."""
        now_s = time.monotonic()
        for process, count in zip(self._started, counts, strict=True):
            processes.order(process, f"come {count}")
        for process in self._started:
            processes.said(process)
        return now_s

    def mark(self) -> None:
        """Reset the counters."""
        for process in self._started:
            processes.tell(process, "mark")

    def figures(self) -> Figures:
        """Return the figures of all processes together."""
        each = [Figures(**json.loads(processes.tell(process, "stats"))) for process in self._started]
        refusals: Counter[str] = Counter()
        for found in each:
            refusals.update(found.refusals)
        return Figures(
            sum(found.present for found in each),
            sum(found.connected for found in each),
            sum(found.lost for found in each),
            dict(refusals),
            max(found.most_refused for found in each),
        )

    def wait(self, since_s: float, lost: int = 0) -> tuple[float, Figures]:
        """Wait until all clients are connected and `lost` of them had lost their connection before, or a time limit is
        over.

        Return the seconds that took from `since_s` on, and the figures.
        """
        while True:
            figures, took_s = self.figures(), time.monotonic() - since_s
            if (figures.connected == figures.present and figures.lost >= lost) or took_s > PATIENCE_S:
                return took_s, figures
            time.sleep(0.1)

    def waited_s(self, served_s: float) -> tuple[float, float]:
        """Return the longest time that a new client waited from then on, with and without its pauses."""
        each = [processes.tell(process, f"waited {served_s}").split() for process in self._started]
        return max(float(whole) for whole, _ in each), max(float(awake) for _, awake in each)


@contextmanager
def _load_processes(count: int, cluster: Cluster) -> Iterator[LoadProcesses]:
    ports = [str(replica.port) for replica in cluster.replicas]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                processes.running(
                    [
                        sys.executable,
                        "-m",
                        "bench.support.clients.discovery_clients",
                        str(number * PROCESS_ADDRESSES),
                        *ports,
                    ],
                    ALL_CPUS,
                )
            )
            for number in range(max(2, -(-(count + NEWCOMERS) // CROWD_COUNT)))
        ]
        yield LoadProcesses(started)


def _all_come(report: Report, cluster: Cluster, clients: LoadProcesses, count: int) -> None:
    took_s, figures = clients.wait(clients.come(_shares(count, len(clients))))
    largest = _tell(report, "all come at once", cluster, took_s, figures)
    report.require(f"{count:,} clients come at once: all get in", figures.connected == count)
    report.require(f"... the largest gateway at most {EVEN - 1:.0%} over the mean", largest <= EVEN)


def _one_is_killed(report: Report, cluster: Cluster, clients: LoadProcesses) -> None:
    clients.mark()
    lost = cluster.held()[0]
    since_s = time.monotonic()
    cluster.gateways[0].kill()
    took_s, figures = clients.wait(since_s, lost)
    largest = _tell(report, f"one gateway killed: {lost:,} come back", cluster, took_s, figures)
    is_back = figures.connected == figures.present and took_s <= BACK_S
    report.require(f"a gateway is killed: all connected again within {BACK_S:g} s", is_back)
    report.require(f"... no gateway more than {EVEN_AFTER_KILL - 1:.0%} over the mean", largest <= EVEN_AFTER_KILL)
    report.require(f"... no client refused more than {REFUSALS} times", figures.most_refused <= REFUSALS)


def _all_are_killed(report: Report, cluster: Cluster, clients: LoadProcesses) -> None:
    """Kill all gateways: no gateway has capacity for a while, so that all clients get Retry-After."""
    clients.mark()
    lost = sum(cluster.held())
    for gateway in cluster.gateways:
        gateway.kill()
    time.sleep(OUTAGE_S)
    start_all(cluster.gateways)
    served_s = time.monotonic()
    took_s, figures = clients.wait(served_s, lost)
    phase = f"all gateways killed, and started again: {lost:,} come back"
    largest = _tell(report, phase, cluster, took_s, figures)
    report.require(
        f"all gateways are killed and started again: all connected {ALL_BACK_S:g} s later",
        figures.connected == figures.present and took_s <= ALL_BACK_S,
    )
    report.require(f"... the largest gateway at most {EVEN - 1:.0%} over the mean", largest <= EVEN)


def _discovery_is_killed(report: Report, cluster: Cluster, clients: LoadProcesses) -> None:
    clients.mark()
    for replica in cluster.replicas:
        replica.kill()
    since_s = clients.come(_shares(NEWCOMERS, len(clients)))
    start_all(cluster.replicas)
    served_s = time.monotonic()
    took_s, figures = clients.wait(since_s)
    _tell(report, f"discovery killed and restarted: {NEWCOMERS:,} come", cluster, took_s, figures)
    whole_s, awake_s = clients.waited_s(served_s)
    report.require("discovery is killed and restarted: no connected client notices", figures.lost == 0)
    report.require("... all that come meanwhile get in", figures.connected == figures.present)
    report.require(f"... none waits for more than a beat and its own pauses ({AWAKE_S:g} s)", awake_s <= AWAKE_S)
    report.remarks.append(
        f"discovery was away for {served_s - since_s:.2f} s; from then on the last newcomer waited {whole_s:.2f} s, "
        f"none more than {awake_s:.2f} s beyond its pauses"
    )


def _tell(report: Report, phase: str, cluster: Cluster, took_s: float, figures: Figures) -> float:
    """Add a row; return the most connections of a gateway over the mean, once all have reported."""
    time.sleep(SETTLE_S)
    held = cluster.held()
    largest = max(held) * len(held) / sum(held)
    report.rows.append(
        {
            "phase": phase,
            "s": took_s,
            "connected": figures.connected,
            "of each gateway": " + ".join(f"{count:,}" for count in held),
            "largest %": (largest - 1) * 100,
            "refusals": sum(figures.refusals.values()),
            "most of one client": figures.most_refused,
        }
    )
    reasons = ", ".join(f"{why}: {count:,}" for why, count in sorted(figures.refusals.items()))
    report.remarks.append(f"{phase}: refusals: {reasons or 'none'}")
    return largest


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]
