"""``python -m bench lock``: decisions per second of lock servers on PostgreSQL; each decision changes rows.

It starts a private server from Debian's package, which syncs each commit. First it measures stores in turn, without
HTTP: one transaction per decision, batches of one lock server, of several on one database, and of one on a store with
many finished jobs; then whole lock servers, which masters call over HTTP. Then single decisions come at a steady rate,
to measure their latency, and the effect of killing one of the lock servers. At the end the retention of the finished
jobs expires, and they are deleted while decisions continue.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench.load import lock_servers
from bench.load.lock_clients import MASTERS
from bench.report import Report
from bench.support import services
from bench.support.rounds import Row, take_turns
from roost.backend.engines import Engines, EngineUrls
from roost.backend.store.port import StoreLimits

ROOT = Path(__file__).resolve().parent.parent.parent
FILL = """
SET search_path = roost;
INSERT INTO jobs (kind, spec, rank, state, token, master, deadline, ending, created_at, started_at, finished_at,
                  keep_until)
SELECT 'crawl', decode(repeat('00', 200), 'hex'), extract(epoch FROM t), 'done', n, 'm1', t + interval '1 h',
  '\\x95a4646f6e650000c400c0', t, t, t, t + interval '1 day'
FROM (SELECT n, now() - interval '1 h' + n * interval '0.1 ms' AS t FROM generate_series(1, {count}) n) AS past;
INSERT INTO requests (client, request, spec_digest, job, gateway, epoch, state, created_at)
SELECT decode(md5(id::text), 'hex'), 'r1', decode(repeat('00', 32), 'hex'), id, 'g' || id % 3, 1, 'acked', created_at
FROM jobs;
"""
TICKS = 100
LANES = 8
"""Concurrent transactions where each decision has its own: more are not faster."""
ALONE, ONE = f"one transaction each, {LANES} at once", "batches, 1 lock server"
GOAL_PER_S, GOAL_TIMES, GOAL_P99_MS = 15_000, 10, 20.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--batch", type=int, default=400, help="decisions of a batch [400]")
    parser.add_argument("--call", type=int, default=50, help="decisions of one request over HTTP [50]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a round [5]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--servers", type=int, default=2, help="lock servers side by side [2]")
    parser.add_argument("--rate", type=int, default=1000, help="single decisions a second, for their latency [1000]")
    parser.add_argument("--latency-seconds", type=float, default=15.0, help="for how long [15]; again with a kill")
    parser.add_argument("--finished", type=int, default=0, help="finished jobs in another store [0: without it]")
    parser.add_argument("--before", type=Path, metavar="DIR", help="a checkout of another version to measure beside it")


@dataclass(frozen=True)
class Case:
    """A store to be measured."""

    database: str
    servers: int = 1
    batch: int = 1
    lanes: int = 1
    over_http: bool = False
    code: Path = ROOT


def run(options: argparse.Namespace) -> Report:
    """Measure."""
    server = services.postgres()
    cases = _cases(server, options)
    report = Report(f"Lock decisions on PostgreSQL, batches of {options.batch}")

    def measure(name: str) -> Row:
        before_s = _cpu_s(server)
        row = _round(server, cases[name], options)
        cpu_s = _cpu_s(server) - before_s
        return {**row, "server CPU µs each": cpu_s / (row["decisions/s"] * options.seconds) * 1e6}

    report.add_rounds(take_turns(list(cases), options.rounds, measure), "store")
    report.remarks.append("every decision is an acquire of a new request or a complete; the server syncs each commit")
    report.remarks.append(f"over HTTP: {MASTERS} masters, {options.call} decisions in a request, whole lock servers")
    _judge_speed(report)
    url = server.url(cases[ONE].database)
    for kill in (False, True):
        found = lock_servers.offered(url, 2, options.rate, options.latency_seconds, kill)
        _judge_latency(report, found, kill)
    if options.finished:
        report.remarks.append(_retire(server, cases[_finished(options)].database, options))
    return report


def _cases(server: services.Postgres, options: argparse.Namespace) -> dict[str, Case]:
    batch, many = options.batch, f"{options.servers} lock servers"
    cases = {
        ALONE: Case(_new_store(server), lanes=LANES),
        ONE: Case(_new_store(server), batch=batch),
        f"batches, {many}": Case(_new_store(server), options.servers, batch),
        f"over HTTP, {many}": Case(_new_store(server), options.servers, options.call, over_http=True),
    }
    if options.finished:
        full = cases[_finished(options)] = Case(_new_store(server), batch=batch)
        server.sql(full.database, FILL.format(count=options.finished))
        server.sql(full.database, "VACUUM ANALYZE")
    if options.before:
        for name in (ONE, f"batches, {many}"):
            cases[f"before: {name}"] = replace(cases[name], database=server.database(), code=options.before)
    return cases


def _finished(options: argparse.Namespace) -> str:
    return f"batches, {options.finished:,} finished jobs"


def _judge_speed(report: Report) -> None:
    speeds = {row["store"]: row["decisions/s"] for row in report.rows}
    best = max(speed for name, speed in speeds.items() if not name.startswith("before"))
    times = best / speeds[ALONE]
    report.remarks.append(f"the best is {times:.1f} times one transaction for each decision")
    report.require(f"{GOAL_PER_S:,} decisions/s", best >= GOAL_PER_S)
    report.require(f"{GOAL_TIMES} times one transaction for each decision", times >= GOAL_TIMES)


def _judge_latency(report: Report, found: Row, kill: bool) -> None:
    case = "one of two lock servers is killed with -9 half-way" if kill else "two lock servers"
    figures = ", ".join(f"{name} {value:,.1f}" for name, value in found.items())
    report.remarks.append(f"single decisions over HTTP, {case}: {figures}")
    report.rounds[f"latency, {case}"] = [found]
    report.require("no decision fails, none is granted twice", not found["failed"] and not found["granted twice"])
    if not kill:
        report.require(f"99 % of single decisions take under {GOAL_P99_MS:g} ms", found["p99 ms"] < GOAL_P99_MS)


def _new_store(server: services.Postgres) -> str:
    """Return the name of a new database with the tables in it."""
    name = server.database()
    asyncio.run(_open_once(server.url(name)))
    return name


async def _open_once(url: str) -> None:
    store = Engines(EngineUrls(store=url), StoreLimits()).store()
    await store.start()
    await store.stop()


def _round(server: services.Postgres, case: Case, options: argparse.Namespace) -> Row:
    """Return the figures of several concurrent lock servers: the sum of their speeds, the mean of the rest."""
    url = server.url(case.database)
    if case.over_http:
        return {**lock_servers.full(url, case.servers, case.batch, options.seconds), "repeated": 0}
    found = _heard(_start(url, case, options.seconds))
    means = {name: sum(figures[name] for figures in found) / case.servers for name in found[0]}
    speed = means["decisions/s"] * case.servers
    return {**means, "decisions/s": speed, "slowest ms": max(figures["slowest ms"] for figures in found)}


def _cpu_s(server: services.Postgres) -> float:
    """Return the processor time of the whole database server, including ended processes."""
    main = (server.folder / "data" / "postmaster.pid").read_text().split()[0]
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (process / "stat").read_text().rpartition(") ")[2].split()
            if process.name == main:
                total += sum(map(int, fields[11:15]))
            elif fields[1] == main:
                total += sum(map(int, fields[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


def _start(url: str, case: Case, seconds: float) -> list[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.load.lock_load", url, str(case.batch), str(case.lanes), str(seconds)]
    return [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=case.code) for _ in range(case.servers)]


def _heard(running: Sequence[subprocess.Popen[bytes]]) -> list[dict[str, float]]:
    return [json.loads(process.communicate()[0]) for process in running]


def _retire(server: services.Postgres, database: str, options: argparse.Namespace) -> str:
    """Set the store's clock forward; run a lock server's ticks, which delete the jobs, while another one decides."""
    before = _old_count(server, database)
    server.sql(database, "UPDATE roost.clock SET ahead = ahead + interval '1 day'")
    deciding = _start(server.url(database), Case(database, batch=options.batch), options.seconds)
    tick_s = asyncio.run(_tick(server.url(database)))
    (figures,) = _heard(deciding)
    return (
        f"retention: {TICKS} ticks forgot {before - _old_count(server, database):,} jobs; the median tick took "
        f"{median(tick_s) * 1000:.0f} ms, the slowest {max(tick_s) * 1000:.0f} ms; meanwhile "
        f"{figures['decisions/s']:,.0f} decisions/s, slowest batch {figures['slowest ms']:.0f} ms, "
        f"{figures['repeated']:.0f} repeated"
    )


async def _tick(url: str) -> list[float]:
    store = Engines(EngineUrls(store=url), StoreLimits()).store()
    await store.start()
    took: list[float] = []
    for _ in range(TICKS):
        start = time.perf_counter()
        await store.tick()
        took.append(time.perf_counter() - start)
    await store.stop()
    return took


def _old_count(server: services.Postgres, database: str) -> int:
    """Return how many of the inserted finished jobs are still stored."""
    return int(server.sql(database, "SELECT count(*) FROM roost.jobs WHERE created_at < now() - interval '50 min'"))
