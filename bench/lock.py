"""``python -m bench lock``: decisions per second of lock servers on PostgreSQL, each of which changes rows.

A private server of Debian's package is started for it. Rounds of an empty store, of several lock servers on one, and
of a store with many finished jobs take turns; then the retention of that one ends, and it is cleaned up while decisions
go on.
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
from pathlib import Path
from statistics import median

from backend.store.port import StoreLimits
from backend.wiring import Engines, EngineUrls
from bench.report import Report
from bench.rounds import Row, take_turns
from tests import services

FILL = """
SET search_path = roost;
INSERT INTO jobs (kind, spec, rank, state, token, owner, deadline, ending, created_at, started_at, finished_at)
SELECT 'crawl', decode(repeat('00', 200), 'hex'), t, 'done', n, 'm1', t + 3600, '\\x95a4646f6e650000c400c0', t, t, t
FROM (SELECT n, server_time() - 3600 + n * 1e-4 AS t FROM generate_series(1, {count}) n) AS past;
INSERT INTO waiters (client, request, spec_digest, job, gateway, epoch, state, created_at)
SELECT decode(md5(id::text), 'hex'), 'r1', decode(repeat('00', 32), 'hex'), id, 'g' || id % 3, 1, 'acked', created_at
FROM jobs;
"""
TICKS = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` wants to know."""
    parser.add_argument("--batch", type=int, default=400, help="decisions of a batch [400]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a round [5]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--servers", type=int, default=2, help="lock servers side by side [2]")
    parser.add_argument("--finished", type=int, default=0, help="finished jobs in the third store [0: without it]")


def run(options: argparse.Namespace) -> Report:
    """Measure."""
    server = services.postgres()
    stores = {
        "empty": (_new_store(server), 1),
        f"empty, {options.servers} lock servers": (_new_store(server), options.servers),
    }
    full = _new_store(server) if options.finished else ""
    if full:
        server.sql(full, FILL.format(count=options.finished))
        server.sql(full, "VACUUM ANALYZE")
        stores[f"{options.finished:,} finished jobs"] = full, 1
    report = Report(f"Lock decisions on PostgreSQL, batches of {options.batch}")

    def measure(name: str) -> Row:
        database, servers = stores[name]
        before_s = _cpu_s(server)
        row = _round(server.url(database), servers, options)
        cpu_s = _cpu_s(server) - before_s
        return {**row, "server CPU µs each": cpu_s / (row["decisions/s"] * options.seconds) * 1e6}

    report.add_rounds(take_turns(list(stores), options.rounds, measure), "store")
    if full:
        report.remarks.append(_retire(server, full, options))
    report.remarks.append("every decision is an acquire of a new request or a complete; the server syncs each commit")
    return report


def _new_store(server: services.Postgres) -> str:
    """The name of a database with the tables in it."""
    name = server.database()
    asyncio.run(_open_once(server.url(name)))
    return name


async def _open_once(url: str) -> None:
    store = Engines(EngineUrls(store=url), StoreLimits()).store()
    await store.start()
    await store.stop()


def _round(url: str, servers: int, options: argparse.Namespace) -> Row:
    """Figures of some lock servers at the same time: the sum of their speeds, the mean of the rest."""
    found = _heard(_start(url, servers, options.batch, options.seconds))
    means = {name: sum(figures[name] for figures in found) / servers for name in found[0]}
    speed = means["decisions/s"] * servers
    return {**means, "decisions/s": speed, "slowest ms": max(figures["slowest ms"] for figures in found)}


def _cpu_s(server: services.Postgres) -> float:
    """Processor time of the whole database server: its processes, and those that have ended."""
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


def _start(url: str, servers: int, batch: int, seconds: float) -> list[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.deciders", url, str(batch), str(seconds)]
    return [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(servers)]


def _heard(running: Sequence[subprocess.Popen[bytes]]) -> list[dict[str, float]]:
    return [json.loads(process.communicate()[0]) for process in running]


def _retire(server: services.Postgres, database: str, options: argparse.Namespace) -> str:
    """Ticks of a lock server for which the retention is over, while another decides."""
    before = _old_count(server, database)
    deciding = _start(server.url(database), 1, options.batch, options.seconds)
    tick_s = asyncio.run(_tick(server.url(database)))
    (figures,) = _heard(deciding)
    return (
        f"retention: {TICKS} ticks forgot {before - _old_count(server, database):,} jobs; the median tick took "
        f"{median(tick_s) * 1000:.0f} ms, the slowest {max(tick_s) * 1000:.0f} ms; meanwhile "
        f"{figures['decisions/s']:,.0f} decisions/s, slowest batch {figures['slowest ms']:.0f} ms, "
        f"{figures['repeated']:.0f} repeated"
    )


async def _tick(url: str) -> list[float]:
    store = Engines(EngineUrls(store=url), StoreLimits(retention_s=1800.0)).store()
    await store.start()
    took: list[float] = []
    for _ in range(TICKS):
        start = time.perf_counter()
        await store.tick()
        took.append(time.perf_counter() - start)
    await store.stop()
    return took


def _old_count(server: services.Postgres, database: str) -> int:
    """Jobs of the filling that are still stored."""
    return int(server.sql(database, "SELECT count(*) FROM roost.jobs WHERE created_at < roost.server_time() - 1800"))
