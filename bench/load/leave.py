"""``python -m bench leave``: how a gateway closes its connections when it drains after SIGTERM.

A gateway with very many silent clients, each with its own source address, receives SIGTERM. The clients record when a
close frame arrives, with which code, and whether their connection then ends normally or is reset; each replies to the
close frame, as RFC 6455 section 5.5.1 requires. All must be closed with 1012, spread over the drain window, so that
clients which reconnect elsewhere at once do not all arrive at the same time.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

from bench.compare import servers
from bench.report import Report
from bench.support.clients import idle_processes
from bench.support.clients.close_stats import CloseStats, largest_share
from roost.gateway.settings import Settings
from roost.wire.codes import MOVED

WINDOW_S = Settings().drain_s
LARGEST_SHARE = 0.25
"""Largest share of all close frames in any tenth of the window. The gateway uses half of the window, and the rest is
for the closing handshakes: spread evenly, a fifth comes in each tenth of that half.
"""

SLACK_S = 2.0
"""Seconds after the window until the process must have ended."""

PATIENCE_S = 60.0
LEAST_COUNT = 1000
"""With fewer clients the drain takes less than the window, and their distribution says little."""

DEFAULT = (servers.OURS, servers.OUR_JOBS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--count", type=int, default=10_000, help=f"clients, at least {LEAST_COUNT} [10000]")
    parser.add_argument("--only", default=",".join(DEFAULT), help=f"which of {', '.join(servers.ALL_OURS)}")


def run(options: argparse.Namespace) -> Report:
    """Measure; the report has failed when a client was not closed as required."""
    names = options.only.split(",")
    strangers = set(names) - set(servers.ALL_OURS)
    if strangers:
        raise SystemExit(f"only {', '.join(servers.ALL_OURS)} can be sent away, not {', '.join(strangers)}")
    if options.count < LEAST_COUNT:
        raise SystemExit(f"--count must be at least {LEAST_COUNT}")
    report = Report(f"Sending {options.count:,} clients away within {WINDOW_S:g} s")
    missing = servers.what_is_missing(names)
    for name in names:
        if name in missing:
            report.require(f"{name} runs: {missing[name]}", False)
            continue
        print(f"{name}: {options.count:,} clients", file=sys.stderr, flush=True)
        judge(report, name, options.count, _send_away(name, options.count))
    report.remarks += [
        f"times from SIGTERM on; peak: the largest share of close frames in any {WINDOW_S / 10:g} s",
        "reset: connections that ended by a TCP reset, before or after the close frame",
    ]
    return report


@dataclass(frozen=True)
class Leaving:
    """What the clients of one gateway observed. Times are of the monotonic clock."""

    farewells: CloseStats
    held: int
    """Clients whose connection was still open at the end."""
    told_s: float
    """When SIGTERM was sent."""
    ended_s: float
    """When its process had ended."""
    status: int

    def row(self) -> dict[str, float]:
        """The row of the table."""
        farewells, moved = self.farewells, self.farewells.codes[MOVED.number]
        times_s = farewells.times_s or [self.told_s]
        return {
            f"closed {MOVED.number}": moved,
            "closed otherwise": farewells.codes.total() - moved,
            "no close frame": farewells.silent + self.held,
            "reset": farewells.resets,
            "first s": min(times_s) - self.told_s,
            "last s": max(times_s) - self.told_s,
            "peak %": largest_share(farewells.times_s, WINDOW_S / 10) * 100,
            "process ended s": self.ended_s - self.told_s,
            "exit status": self.status,
        }


def _send_away(name: str, count: int) -> Leaving:
    hello, tls = name == servers.OUR_JOBS, name == servers.OUR_TLS
    with (
        servers.running(name) as server,
        idle_processes.idle_processes(server.port, count, hello=hello, tls=tls) as clients,
    ):
        assert server.gateway is not None
        clients.open()
        told_s = time.monotonic()
        server.gateway.process.terminate()
        status = server.gateway.process.wait(PATIENCE_S)
        ended_s = time.monotonic()
        while clients.stats()["held"] and time.monotonic() < told_s + PATIENCE_S:
            time.sleep(0.1)
        held = clients.stats()["held"]
        return Leaving(clients.farewells(), held, told_s, ended_s, status)


def judge(report: Report, name: str, count: int, leaving: Leaving) -> None:
    """Add the observations and goals to the report."""
    row = leaving.row()
    report.rows.append({"server": name, **row})
    report.require(
        f"{name}: each of {count:,} clients got close frame {MOVED.number}",
        leaving.farewells.codes == {MOVED.number: count},
    )
    report.require(f"{name}: no connection was reset or just ended", row["reset"] == row["no close frame"] == 0)
    report.require(
        f"{name}: at most {LARGEST_SHARE:.0%} of the close frames in any tenth of the window",
        row["peak %"] <= LARGEST_SHARE * 100,
    )
    report.require(
        f"{name}: all within the window, and the process ended with status 0",
        row["last s"] <= WINDOW_S and row["process ended s"] <= WINDOW_S + SLACK_S and leaving.status == 0,
    )
