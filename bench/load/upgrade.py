"""``python -m bench upgrade --from SDIST``: a rolling upgrade of all parts, which clients must not notice.

The whole system of another version runs in separate processes over a real RabbitMQ, PostgreSQL and Redis. Its Python
clients always have a job in flight each, and are of the other version until the end. The parts are replaced by those of
this code one by one, in the order of docs/how-to/upgrade.md: a new one is started, then the old one receives
SIGTERM. Replicas of discovery have fixed addresses, so each is ended first, and started again at the same port. The
report fails when a client sees an error, when a result is lost, incomplete or comes twice, or when a part does not end
in order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from subprocess import Popen

import aiohttp
import uvloop

from bench.report import Report
from bench.support import audit, processes, services
from bench.support.clients.job_clients import Asked
from bench.support.components import Process
from bench.support.lane import Engines, Lane
from bench.support.versions import Version, unpack
from bench.support.waiting import until
from roost.wire.version import VERSION

ORDER = ("discovery", "lock", "worker", "master", "gateway")
REPLICAS = 2
"""Of discovery, so that one of them serves while the other is replaced."""
ALL_CPUS = processes.SERVER_CPUS | processes.LOAD_CPUS
LOOK_S = 0.1
PATIENCE_S = 120.0
MARK = "before"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--from", type=Path, required=True, metavar="SDIST", dest="sdist", help="the other version")
    parser.add_argument("--clients", type=int, default=20, help="each with a job in flight [20]")
    parser.add_argument("--levels", type=int, default=10, help="of a job, each a tenth of a second [10]")
    parser.add_argument("--each", type=int, default=2, help="lock servers, workers, masters and gateways [2]")


def run(options: argparse.Namespace) -> Report:
    """Replace all parts; the report has failed when a goal was missed."""
    before = unpack(options.sdist, MARK)
    report = Report(f"Rolling upgrade from {before.name} to {VERSION} under {options.clients} clients")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(Upgrade(report, before, options).run())
    report.remarks += [
        "in flight: jobs when it began; done: jobs that ended meanwhile; reconnects: the most of one client",
        f"clients are of {before.name}, also at the end",
    ]
    return report


class Upgrade:
    """One upgrade of a deployment."""

    def __init__(self, report: Report, before: Version, options: argparse.Namespace) -> None:
        self._report, self._before, self._options = report, before, options
        counts = dict.fromkeys(ORDER, options.each) | {"discovery": REPLICAS}
        engines = Engines(services.rabbitmq(), services.postgres(), services.redis())
        self._lane = Lane(engines, counts=counts)

    async def run(self) -> None:
        """Start everything, replace it, and wait for all results."""
        lane, options, before = self._lane, self._options, self._before
        command = [sys.executable, "-m", "bench.support.clients.job_clients", str(options.clients), str(options.levels)]
        try:
            lane.variables = before.variables
            await lane.open()
            self._report.require("all parts are of the version before", await self._versions() == {before.name})
            with processes.running([*command, *lane.urls], ALL_CPUS, before.variables) as clients:
                await asyncio.to_thread(processes.said, clients)
                lane.variables = {}
                for kind in ORDER:
                    for number, process in enumerate(lane.running(kind), 1):
                        await self._replace(clients, f"{kind} {number}", kind, process)
                await self._finish(clients)
            self._audit()
        finally:
            await lane.close()

    async def _replace(self, clients: Popen[str], name: str, kind: str, process: Process) -> None:
        lane, report = self._lane, self._report
        print(f"{name} is replaced", file=sys.stderr, flush=True)
        await asyncio.to_thread(processes.tell, clients, "mark")
        began = await self._asked(clients)
        start = time.monotonic()
        if kind == "discovery":
            status = await lane.retire(process)
            await lane.boot(kind)
        else:
            await lane.boot(kind)
            await self._wait_for_jobs(clients)
            status = await lane.retire(process)
        ended = await self._wait_for_jobs(clients)
        report.rows.append(
            {
                "replaced": name,
                "in flight": began.in_flight,
                "done": ended.answered - began.answered,
                "wrong": len(ended.wrong) - len(began.wrong),
                "reconnects": ended.most_reconnects,
                "s": time.monotonic() - start,
            }
        )
        report.require("each process ends with status 0", status == 0)
        most = 1 if kind == "gateway" else 0
        report.require("no client connects again, but once for a gateway that ends", ended.most_reconnects <= most)

    async def _wait_for_jobs(self, clients: Popen[str]) -> Asked:
        """Wait until as many jobs are done as there are clients, all of them begun since then or not long before."""
        before = await self._asked(clients)
        deadline = time.monotonic() + PATIENCE_S
        while (asked := await self._asked(clients)).answered - before.answered < self._options.clients:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no jobs are done any more: {asked}")
            await asyncio.sleep(LOOK_S)
        return asked

    async def _asked(self, clients: Popen[str], command: str = "stats") -> Asked:
        return Asked(**json.loads(await asyncio.to_thread(processes.tell, clients, command)))

    async def _finish(self, clients: Popen[str]) -> None:
        asked, report = await self._asked(clients, "finish"), self._report
        report.require(
            f"all {asked.submitted:,} results come, whole and once; no client sees an error",
            asked.answered == asked.submitted and not asked.wrong and not asked.doubled,
        )
        report.remarks += [f"wrong: {text}" for text in asked.wrong[:10]]
        await until(self._is_upgraded)  # discovery forgets parts that ended after a while
        report.require("all parts are of this version in the end", True)

    async def _is_upgraded(self) -> bool:
        return await self._versions() == {VERSION}

    def _audit(self) -> None:
        """What the store and the log lines say."""
        account = audit.look(self._lane.engines.postgres, self._lane.database)
        self._report.require("no job ended twice, and no token went back", not account.violations())
        errors = [line for line in self._lane.complaints() if " ERROR " in line or "Traceback" in line]
        self._report.require("no part logs an error", not errors)
        self._report.remarks += [*account.violations()[:10], *errors[:10]]
        self._report.remarks.append(f"{account.takeovers()} jobs were given back and granted again, or taken over")

    async def _versions(self) -> set[str]:
        """The versions of all parts but discovery, as its last replica knows them."""
        async with aiohttp.ClientSession() as http, http.get(f"{self._lane.urls[-1]}/v1/components") as answer:
            return {each["version"] for each in (await answer.json())["components"]}
