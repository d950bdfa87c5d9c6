"""``python -m bench rush``: everybody at once, through discovery, over real sockets.

Discovery and three bare gateways, each a process; clients in as many load processes as they need, each client at an
address of its own (`bench.support.clients.discovery_clients`: they do what the Python client does). First all clients
come at one moment. Then one gateway is killed (-9), and its clients come back at one moment; then all gateways are
killed, and started again. Last, discovery is killed while some clients come, and started again. Fails when the gateways
are not even, somebody is refused too often or waits too long, or a connected client notices that discovery was away.
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
"""The largest gateway over the mean."""

BACK_S = 15.0
OUTAGE_S, ALL_BACK_S = 5.0, 45.0
"""How long no gateway is there, beside the time of a start; and in how long after it all must be back."""

REFUSALS = 2
NEWCOMERS = 500
AWAKE_S = INTERVAL_S + 0.5
"""What a newcomer may wait for beyond its pauses: a beat, and a moment for the handshakes."""

PATIENCE_S = 120.0
ALL_CPUS = processes.SERVER_CPUS | processes.LOAD_CPUS
SETTLE_S = 2 * INTERVAL_S


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` wants to know."""
    parser.add_argument("--clients", type=int, default=30_000, help="that come at once [30000]")
    parser.add_argument("--gateways", type=int, default=3, help="processes [3]")
    parser.add_argument("--replicas", type=int, default=1, help="of discovery [1]")


def run(options: argparse.Namespace) -> Report:
    """Rush; the report has failed when a goal was missed."""
    if options.gateways < 2 or options.replicas < 1 or options.clients < options.gateways:
        raise SystemExit("at least --gateways 2, --replicas 1, and a client for each gateway")
    report = Report(f"{options.clients:,} clients at once, {options.gateways} gateways, discovery x {options.replicas}")
    with clustered(options.gateways, options.replicas) as cluster, _throng(options.clients, cluster) as throng:
        _all_come(report, cluster, throng, options.clients)
        _one_is_killed(report, cluster, throng)
        _all_are_killed(report, cluster, throng)
        _discovery_is_killed(report, cluster, throng)
    report.remarks += [
        "s: from the moment until the last client is connected, or from when the gateways serve again where all were "
        "killed; largest: of the gateways, over their mean",
        "refusals: tries that ended without a connection, whatever the reason, an answer too late among them",
    ]
    return report


class BareGateway(RoostPart):
    """``python -m gateway`` with the echo example, which nobody enters without a ticket."""

    def __init__(self, shared: Mapping[str, str], replicas: Sequence[RoostPart]) -> None:
        urls = ",".join(f"http://{LOOPBACK}:{replica.port}" for replica in replicas)
        app = ("--app", gateways.ECHO, "--require-ticket", "--discovery", urls)
        super().__init__("gateway", shared, *app, "--port", str(free_port()), asked_at="--admin-port")

    def command(self) -> list[str]:
        return [sys.executable, "-m", "gateway", *self._arguments, "--log-level", "warning"]


@dataclass(frozen=True)
class Cluster:
    """What is rushed at."""

    replicas: list[RoostPart]
    gateways: list[RoostPart]

    def held(self) -> list[int]:
        """Connections of each gateway that runs."""
        return [part.metrics()["open_connections"] for part in self.gateways if part.is_running()]


@contextmanager
def clustered(gateway_count: int, replica_count: int = 1) -> Iterator[Cluster]:
    """Discovery and gateways, serving; gone afterwards."""
    shared = {"ROOST_KEYS": f"rush:{secrets.token_hex(16)}", "ROOST_SECRET": secrets.token_hex(16)}
    replicas = [RoostPart("discovery", shared, asked_at="--port") for _ in range(replica_count)]
    doors: list[RoostPart] = [BareGateway(shared, replicas) for _ in range(gateway_count)]
    try:
        start_all(replicas)
        start_all(doors)
        yield Cluster(replicas, doors)
    finally:
        end_all([*doors, *replicas])


class Throng:
    """The load processes, and what they say together."""

    def __init__(self, crowds: Sequence[Popen[str]]) -> None:
        self._crowds = crowds

    def __len__(self) -> int:
        return len(self._crowds)

    def come(self, counts: Sequence[int]) -> float:
        """So many of each process come now; the moment (monotonic seconds)."""
        now_s = time.monotonic()
        for crowd, count in zip(self._crowds, counts, strict=True):
            processes.order(crowd, f"come {count}")
        for crowd in self._crowds:
            processes.said(crowd)
        return now_s

    def mark(self) -> None:
        """Count anew."""
        for crowd in self._crowds:
            processes.tell(crowd, "mark")

    def figures(self) -> Figures:
        """All of theirs."""
        each = [Figures(**json.loads(processes.tell(crowd, "stats"))) for crowd in self._crowds]
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
        """Until all are connected, and so many had lost their connection before.

        The seconds that took from `since_s` on, and what they saw. It gives up some time.
        """
        while True:
            figures, took_s = self.figures(), time.monotonic() - since_s
            if (figures.connected == figures.present and figures.lost >= lost) or took_s > PATIENCE_S:
                return took_s, figures
            time.sleep(0.1)

    def waited_s(self, served_s: float) -> tuple[float, float]:
        """The longest time that a newcomer waited from then on, and without its pauses."""
        each = [processes.tell(crowd, f"waited {served_s}").split() for crowd in self._crowds]
        return max(float(whole) for whole, _ in each), max(float(awake) for _, awake in each)


@contextmanager
def _throng(count: int, cluster: Cluster) -> Iterator[Throng]:
    ports = [str(replica.port) for replica in cluster.replicas]
    with ExitStack() as stack:
        crowds = [
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
        yield Throng(crowds)


def _all_come(report: Report, cluster: Cluster, throng: Throng, count: int) -> None:
    took_s, figures = throng.wait(throng.come(_shares(count, len(throng))))
    largest = _tell(report, "all come at once", cluster, took_s, figures)
    report.require(f"{count:,} clients come at once: all get in", figures.connected == count)
    report.require(f"... the largest gateway at most {EVEN - 1:.0%} over the mean", largest <= EVEN)


def _one_is_killed(report: Report, cluster: Cluster, throng: Throng) -> None:
    throng.mark()
    lost = cluster.held()[0]
    since_s = time.monotonic()
    cluster.gateways[0].kill()
    took_s, figures = throng.wait(since_s, lost)
    largest = _tell(report, f"one gateway killed: {lost:,} come back", cluster, took_s, figures)
    is_back = figures.connected == figures.present and took_s <= BACK_S
    report.require(f"a gateway is killed: all connected again within {BACK_S:g} s", is_back)
    report.require(f"... no gateway more than {EVEN_AFTER_KILL - 1:.0%} over the mean", largest <= EVEN_AFTER_KILL)
    report.require(f"... no client refused more than {REFUSALS} times", figures.most_refused <= REFUSALS)


def _all_are_killed(report: Report, cluster: Cluster, throng: Throng) -> None:
    """Nobody has room for a while, so the whole crowd is told when to come again."""
    throng.mark()
    lost = sum(cluster.held())
    for gateway in cluster.gateways:
        gateway.kill()
    time.sleep(OUTAGE_S)
    start_all(cluster.gateways)
    served_s = time.monotonic()
    took_s, figures = throng.wait(served_s, lost)
    phase = f"all gateways killed, and started again: {lost:,} come back"
    largest = _tell(report, phase, cluster, took_s, figures)
    report.require(
        f"all gateways are killed and started again: all connected {ALL_BACK_S:g} s later",
        figures.connected == figures.present and took_s <= ALL_BACK_S,
    )
    report.require(f"... the largest gateway at most {EVEN - 1:.0%} over the mean", largest <= EVEN)


def _discovery_is_killed(report: Report, cluster: Cluster, throng: Throng) -> None:
    throng.mark()
    for replica in cluster.replicas:
        replica.kill()
    since_s = throng.come(_shares(NEWCOMERS, len(throng)))
    start_all(cluster.replicas)
    served_s = time.monotonic()
    took_s, figures = throng.wait(since_s)
    _tell(report, f"discovery killed and restarted: {NEWCOMERS:,} come", cluster, took_s, figures)
    whole_s, awake_s = throng.waited_s(served_s)
    report.require("discovery is killed and restarted: no connected client notices", figures.lost == 0)
    report.require("... all that come meanwhile get in", figures.connected == figures.present)
    report.require(f"... none waits for more than a beat and its own pauses ({AWAKE_S:g} s)", awake_s <= AWAKE_S)
    report.remarks.append(
        f"discovery was away for {served_s - since_s:.2f} s; from then on the last newcomer waited {whole_s:.2f} s, "
        f"none more than {awake_s:.2f} s beyond its pauses"
    )


def _tell(report: Report, phase: str, cluster: Cluster, took_s: float, figures: Figures) -> float:
    """Add a row; the largest gateway over the mean, once all have reported."""
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
