"""``python -m tests.faults soak``: clients ask for jobs on and on, while parts and engines are killed at random.

Every few seconds some process is killed with -9, or stopped for a while; RabbitMQ, PostgreSQL and Redis are, too. Each
comes back a little later. In the end all is mended, every client waits for what it has asked for, and the logs of all
clients and the store are audited: lost, doubled and strayed must be 0.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.support import audit, services
from bench.support.components import Process
from bench.support.lane import Engines, Lane
from roost.wire.messages.client import Accepted
from tests.faults.witness import Auditor

COUNTS = {"discovery": 2, "lock": 2, "master": 3, "worker": 3, "gateway": 3}
PART_EVERY_S = 2.0
STOP_SHARE = 0.15
"""Of faults of parts: SIGSTOP for a while instead of kill -9."""
STOP_MOST_S = 20.0
AWAY_MOST_S = 4.0
ENGINE_EVERY_S = {"rabbitmq": 60.0, "postgres": 30.0, "redis": 30.0}
"""On average. RabbitMQ needs 8 s to come back."""
MOST_SIZES = 400
"""Of jobs of one client: four results of 100 bytes more each still make a part."""
REPORT_S = 30.0
ENDED_WITHIN_S = 300.0


@dataclass
class Tally:
    """What happened."""

    kills: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    accepted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What the store says that must not be, and what parts complain of."""
    takeovers: int = 0
    took_s: list[float] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is to be said against the system."""
        return not (self.lost or self.doubled or self.strayed or self.wrong)

    def text(self) -> str:
        """For people."""
        kills = ", ".join(f"{count} {what}" for what, count in sorted(self.kills.items()))
        times = f"median {median(self.took_s):.1f} s, slowest {max(self.took_s):.1f} s" if self.took_s else "none ended"
        lines = [
            f"faults: {self.kills.total()} ({kills})",
            f"jobs: {self.jobs} asked for, {self.accepted} accepted; {times}; {self.takeovers} leases granted anew",
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, strayed {len(self.strayed)}",
        ]
        details = {"lost": self.lost, "doubled": self.doubled, "strayed": self.strayed, "wrong": self.wrong}
        return "\n".join(lines + [f"  {what}: {each}" for what, all_of in details.items() for each in all_of[:20]])


async def _own_engines() -> Engines:
    rabbitmq = asyncio.to_thread(services.started, services.RabbitMq)
    postgres = asyncio.to_thread(services.started, services.Postgres)
    redis = asyncio.to_thread(services.started, services.Redis)
    return Engines(*await asyncio.gather(rabbitmq, postgres, redis))


class Soak:
    """`jobs` clients with one job each in flight, for `minutes`."""

    def __init__(self, minutes: float, jobs: int, seed: int, tell: Callable[[str], None]) -> None:
        self._until = time.monotonic() + minutes * 60
        self._jobs, self._tell, self._chance = jobs, tell, random.Random(seed)
        self._coming_back: set[asyncio.Task[None]] = set()
        self._witnesses: list[Auditor] = []
        self.tally = Tally()

    async def run(self) -> Tally:
        """What came of it."""
        services.reaper()
        self._lane = lane = Lane(await _own_engines(), counts=COUNTS)
        try:
            await lane.open()
            self._witnesses = [Auditor(lane.urls, f"c{number}") for number in range(self._jobs)]
            await asyncio.gather(*(witness.start() for witness in self._witnesses))
            async with asyncio.TaskGroup() as group:
                for work in (
                    *map(self._ask_on, self._witnesses),
                    *map(self._break_engine, ENGINE_EVERY_S),
                    self._break_parts(),
                    self._report(),
                ):
                    group.create_task(work)
            await self._audit()
            await asyncio.gather(*(witness.close() for witness in self._witnesses))
        finally:
            await asyncio.gather(*self._coming_back, return_exceptions=True)
            await lane.close()
        return self.tally

    def _is_over(self) -> bool:
        return time.monotonic() >= self._until

    async def _rest(self, mean_s: float) -> bool:
        """Wait for about so long; whether there is time left."""
        left_s = self._until - time.monotonic()
        await asyncio.sleep(max(0.0, min(left_s, self._chance.expovariate(1 / mean_s))))
        return not self._is_over()

    # --- clients -------------------------------------------------------------------------------------

    async def _ask_on(self, witness: Auditor) -> None:
        """One job after the other; after the last fault it has time to end."""
        number = 0
        while not self._is_over():
            number += 1
            await self._ask(witness, f"{witness.name}-{number}", number)

    async def _ask(self, witness: Auditor, request: str, number: int) -> None:
        chance, began = self._chance, time.monotonic()
        size = 100 * (number % MOST_SIZES) + int(witness.name[1:])  # so that no two clients ever ask for the same
        slow = "slow" if chance.random() < 0.7 else ""
        witness.submit(request, levels=chance.randint(2, 12), width=chance.randint(1, 4), bytes=size, behave=slow)
        mood = chance.random()
        if mood < 0.1:
            await witness.until(lambda: witness.has_heard(request, Accepted) or not witness.is_waiting(request))
            witness.cancel(request)
        elif mood < 0.25:
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            witness.lose_connection()
        left_s = max(0.0, self._until - time.monotonic()) + ENDED_WITHIN_S
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await witness.until(lambda: not witness.is_waiting(request))
                self.tally.took_s.append(time.monotonic() - began)

    # --- faults --------------------------------------------------------------------------------------

    async def _break_parts(self) -> None:
        while await self._rest(PART_EVERY_S):
            kind = self._chance.choice(list(COUNTS))
            running = self._lane.running(kind)
            if not running:
                continue
            process = self._chance.choice(running)
            if self._chance.random() < STOP_SHARE:
                self._note(f"{kind} stopped")
                process.freeze()
                self._later(self._wake(process, self._chance.uniform(1.0, STOP_MOST_S)))
            else:
                self._note(f"{kind} killed")
                await self._lane.kill(process)
                self._later(self._come_back(kind, self._chance.uniform(0.0, AWAY_MOST_S)))

    async def _break_engine(self, name: str) -> None:
        engine = self._lane.engines.find(name)
        while await self._rest(ENGINE_EVERY_S[name]):
            self._note(f"{name} killed")
            await asyncio.to_thread(engine.kill)
            await asyncio.sleep(self._chance.uniform(0.0, AWAY_MOST_S))
            await asyncio.to_thread(engine.start)

    async def _wake(self, process: Process, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if process.is_running:
            process.thaw()

    async def _come_back(self, kind: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            await self._lane.boot(kind)
        except AssertionError as problem:
            self.tally.wrong.append(f"no {kind} could be started again: {problem}")

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._coming_back.add(task)
        task.add_done_callback(self._coming_back.discard)

    def _note(self, what: str) -> None:
        self.tally.kills[what] += 1

    async def _report(self) -> None:
        while not self._is_over():
            await asyncio.sleep(min(REPORT_S, max(0.0, self._until - time.monotonic())))
            self._lane.forget_dead(self._listen_to)
            left_s = max(0.0, self._until - time.monotonic())
            self._tell(f"{left_s:.0f} s left: {len(self.tally.took_s)} jobs ended, {self.tally.kills.total()} faults")

    def _listen_to(self, line: str) -> None:
        if "Traceback" in line or " ERROR " in line:
            self.tally.wrong.append(line)

    # --- the audit -----------------------------------------------------------------------------------

    async def _audit(self) -> None:
        await asyncio.gather(*self._coming_back)
        tally, witnesses = self.tally, self._witnesses
        tally.jobs = sum(len(witness.asked) for witness in witnesses)
        tally.accepted = sum(witness.accepted_count() for witness in witnesses)
        for witness in witnesses:
            tally.lost += witness.lost()
            tally.doubled += witness.doubled()
            tally.strayed += witness.strayed()
        asked = {request: witness for witness in witnesses for request in witness.asked}
        account = await self._settled(asked)
        tally.wrong += account.violations()
        tally.takeovers = account.takeovers()
        self._lane.forget_dead(self._listen_to)
        for line in self._lane.complaints():
            self._listen_to(line)

    async def _settled(self, asked: Mapping[str, Auditor]) -> audit.Account:
        """The store's account, when it has heard of every acknowledgement, or has not for long."""
        deadline = time.monotonic() + 60.0
        while True:
            with suppress(subprocess.CalledProcessError):
                account = await asyncio.to_thread(audit.look, self._lane.engines.postgres, self._lane.database)
                left = account.unsettled(asked)
                if not left or time.monotonic() > deadline:
                    self.tally.wrong += left.values()
                    self.tally.wrong += [asked[request].story(request) for request in left if request in asked]
                    return account
            await asyncio.sleep(1.0)
