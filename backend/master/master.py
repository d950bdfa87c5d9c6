"""A master: takes jobs, drives each to its outcome, keeps its leases.

One process runs many jobs at a time (`slots`); a job costs a master little, its workers do the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from roost.backend.broker import topology
from roost.backend.broker.port import Broker, Delivery, Subscription
from roost.backend.cache.port import Cache
from roost.backend.kinds.api import JobKind, Plan
from roost.backend.kinds.registry import Kinds
from roost.backend.lock.client import LockClient
from roost.backend.master.event_publisher import EventPublisher
from roost.backend.master.job_acquirer import OFFERS_AT_ONCE, JobAcquirer
from roost.backend.master.job_run import JobRun
from roost.backend.master.job_runner import BUG, JobRunner, MasterContext
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.codec import pack
from roost.wire.errors import BadInput, DecodeError, LostAuthority, Misuse, Unavailable
from roost.wire.failpoints import Point, reach
from roost.wire.messages.lock import Decision, Grant, Release
from roost.wire.messages.outcome import Ending, Failure, Outcome
from roost.wire.messages.work import JobChanged, TaskResult, read_control, read_task, read_task_result

log = logging.getLogger(__name__)

BEAT_S = 2.0
"""A third of a lease: two beats may be lost (P13)."""
RESULTS_AT_ONCE = 256
DEAD_AT_ONCE = 16
NO_SURVIVOR = "no worker survived it"


@dataclass(frozen=True, slots=True)
class MasterSettings:
    """`name` is this incarnation's; `slots` how many jobs it drives at a time; `retention_s` as everywhere."""

    name: str
    slots: int = 64
    retention_s: float = 24 * 3600.0

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise Misuse("a master needs at least one slot")


class Master:
    """A `Part`."""

    def __init__(
        self,
        settings: MasterSettings,
        broker: Broker,
        cache: Cache,
        locks: LockClient,
        kinds: Kinds,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings, self._broker, self._locks, self._kinds, self._clock = settings, broker, locks, kinds, clock
        self._desk = MasterContext(broker, cache, locks, EventPublisher(broker), clock)
        self._drivers: dict[int, JobRunner] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._offers: list[Subscription] = []
        self._intake = JobAcquirer(settings.name, locks, broker, clock, self.free_slots, self.running, self._on_grant)
        self._nudged = asyncio.Event()
        self._missed_beat = False
        self.ended_count = 0
        self.lost_count = 0

    def running(self) -> int:
        """Jobs in hand."""
        return len(self._drivers)

    def free_slots(self) -> int:
        """Jobs that it could take now; none beside one that wants a master for itself (P16)."""
        if any(driver.run.wants_master for driver in self._drivers.values()):
            return 0
        return self._settings.slots - len(self._drivers)

    async def start(self) -> None:
        reply = topology.task_results(self._settings.name)
        jobs = topology.job_offers(self._settings.retention_s)
        kinds = [topology.tasks(name) for name in self._kinds.names()]
        for queue in (topology.JOBS_DEAD, topology.TASKS_DEAD, jobs, reply, *kinds):
            await self._broker.declare(queue)
        await self._broker.consume(reply.name, self._on_result, RESULTS_AT_ONCE)
        await self._broker.consume(topology.TASKS_DEAD.name, self._on_dead_task, DEAD_AT_ONCE)
        await self._broker.listen(topology.CONTROL, self._on_control)
        for queue in (jobs, topology.JOBS_DEAD):
            self._offers.append(await self._broker.consume(queue.name, self._intake.on_delivery, OFFERS_AT_ONCE))
        self._loops = [asyncio.create_task(self._intake.run()), asyncio.create_task(self._beat_on())]

    async def drain(self) -> None:
        """Take nothing new, give back what is running, let what is being stored finish."""
        self._intake.is_open = False
        await self._close_door()
        released: list[Decision] = []
        for job, driver in list(self._drivers.items()):
            if not driver.is_finishing:
                self._tasks[job].cancel()
                released.append(Release(job, driver.run.token))
                await driver.call_off()
        if released:
            await self._give_back(released)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _close_door(self) -> None:
        offers, self._offers = self._offers, []
        for subscription in offers:
            await subscription.cancel()

    async def _give_back(self, released: list[Decision]) -> None:
        reach(Point.RELEASE_BEGUN)
        try:
            await self._locks.decide(released)
            reach(Point.RELEASE_ANSWERED)
        except Unavailable as problem:
            log.warning("jobs not given back", extra={"action": "release_failed", "reason": problem.reason})

    async def stop(self) -> None:
        loops, self._loops = [*self._loops, *self._tasks.values()], []
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self._close_door()

    # --- jobs ------------------------------------------------------------------------------------

    def _on_grant(self, grant: Grant, asked_at: float) -> None:
        known = self._drivers.get(grant.job)
        if known is not None and known.run.token >= grant.token:
            return
        if not self._intake.is_open:
            self._spawn(-grant.token, self._give_back([Release(grant.job, grant.token)]))
            return
        self._drop(grant.job)
        reply_to = topology.task_results(self._settings.name).name
        try:
            kind = self._kinds.find(grant.kind)
            plan = _plan(kind, grant, self._clock.wall())
            run = JobRun(grant, plan, reply_to, asked_at, self._clock.monotonic())
        except Exception as problem:
            log.exception("job not understood", extra={"action": "job_unplanned", "job": grant.job})
            failure = Failure(problem.code, problem.message) if isinstance(problem, BadInput) else BUG
            self._spawn(-grant.token, self._refuse(grant, failure))
            return
        driver = self._drivers[grant.job] = JobRunner(run, kind, self._desk)
        self._spawn(grant.job, self._drive(driver))

    def _spawn(self, key: int, work: Coroutine[Any, Any, None]) -> None:
        """A task under its job's number, or for one that is not driven, under its token's negative."""
        task = self._tasks[key] = asyncio.create_task(work)
        task.add_done_callback(partial(self._ended, key))

    def _ended(self, key: int, task: asyncio.Task[None]) -> None:
        """Also for a task that was cancelled before its first step."""
        if self._tasks.get(key) is task:
            del self._tasks[key]
            self._drivers.pop(key, None)
        self._intake.wake()

    async def _refuse(self, grant: Grant, failure: Failure) -> None:
        """A job that cannot be planned has an outcome all the same (I1)."""
        try:
            await self._desk.end_job(grant.job, grant.token, Ending(Outcome.FAILED, failure=failure))
        except LostAuthority:
            log.warning("lease lost", extra={"action": "lease_lost", "job": grant.job, "token": grant.token})

    async def _drive(self, driver: JobRunner) -> None:
        try:
            await driver.drive()
            self.ended_count += 1
        except LostAuthority:
            self._lost(driver)
        except Exception:
            log.exception("driver failed", extra={"action": "driver_failed", "job": driver.run.job})

    def _drop(self, job: int) -> None:
        if self._drivers.pop(job, None) is not None:
            self._tasks.pop(job).cancel()

    def _lost(self, driver: JobRunner) -> None:
        self.lost_count += 1
        log.warning("lease lost", extra={"action": "lease_lost", "job": driver.run.job, "token": driver.run.token})

    # --- beats -----------------------------------------------------------------------------------

    def _on_control(self, body: bytes) -> None:
        try:
            said = read_control(body)
        except DecodeError as problem:
            log.error("unreadable control dropped", extra={"action": "control_unreadable", "reason": problem.message})
            return
        if isinstance(said, JobChanged) and said.job in self._drivers:
            self._nudged.set()

    async def _beat_on(self) -> None:
        while True:
            await self._pause(BEAT_S)
            try:
                self._drop_stuck()
                if self._drivers:
                    await self._beat(list(self._drivers.values()))
            except Exception:  # without beats every job would be lost
                log.exception("beat failed", extra={"action": "beat_failed"})

    def _drop_stuck(self) -> None:
        """Who hangs is beaten for no more: another master has its job when the lease has run out (P17)."""
        for driver in [driver for driver in self._drivers.values() if driver.is_stuck()]:
            log.error("job stuck", extra={"action": "job_stuck", "job": driver.run.job, "token": driver.run.token})
            self._let_go(driver)

    def _let_go(self, driver: JobRunner) -> None:
        """The job is no longer ours. Its workers are told beside the beats, which wait for no broker."""
        self._drop(driver.run.job)
        self._lost(driver)
        self._spawn(-driver.run.token, driver.call_off())

    async def _pause(self, seconds: float) -> None:
        """Until the next beat is due, or a nudge makes it due now."""
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        nudge = asyncio.ensure_future(self._nudged.wait())
        try:
            await asyncio.wait((timer, nudge), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            nudge.cancel()
            self._nudged.clear()

    async def _beat(self, drivers: list[JobRunner]) -> None:
        sent_at = self._clock.monotonic()
        reach(Point.BEAT_BEGUN)
        try:
            answers = await self._locks.beat([driver.lease_beat() for driver in drivers])
        except Unavailable as problem:
            if not self._missed_beat:
                log.warning("beat not answered", extra={"action": "beat_missed", "reason": problem.reason})
            self._missed_beat = True
            return
        self._missed_beat = False
        reach(Point.BEAT_ANSWERED)
        for driver, answer in zip(drivers, answers, strict=True):
            try:
                driver.heard(answer, sent_at)
            except LostAuthority:
                if self._drivers.get(driver.run.job) is driver and not driver.is_finishing:
                    self._let_go(driver)

    # --- results ---------------------------------------------------------------------------------

    async def _on_result(self, delivery: Delivery) -> None:
        try:
            result = read_task_result(delivery.body)
        except DecodeError as problem:
            log.error("unreadable result dropped", extra={"action": "result_unreadable", "reason": problem.message})
        else:
            reach(Point.RESULT_TAKEN)
            driver = self._drivers.get(result.job)
            if driver is not None:
                driver.take(result)
            reach(Point.RESULT_FOLDED)
        delivery.acknowledge()

    async def _on_dead_task(self, delivery: Delivery) -> None:
        """A task that no worker survived goes back to the master it belongs to (P21)."""
        try:
            task = read_task(delivery.body)
            result = TaskResult(task.job, task.token, task.task, error=NO_SURVIVOR, died=not task.alone)
            await self._broker.publish(task.reply_to, pack(result))
            extra = {"action": "task_dead", "job": task.job, "task": task.task, "was_alone": task.alone}
            log.warning("no worker survived a task", extra=extra)
        except DecodeError as problem:
            log.error("unreadable task dropped", extra={"action": "task_unreadable", "reason": problem.message})
        except Unavailable:
            log.warning("a dead task's master is gone", extra={"action": "task_orphaned"})
        delivery.acknowledge()


def _plan(kind: JobKind, grant: Grant, now_wall: float) -> Plan:  # type: ignore[type-arg]
    spec = kind.unpack_spec(grant.spec)
    return kind.plan(spec, since=now_wall - max(0.0, kind.timeout_s(spec) - grant.remaining_s))
