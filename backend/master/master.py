"""A master: acquires jobs, runs each to its outcome, and renews its leases.

One process runs many jobs at a time (`slots`). A job costs a master little, because workers do the work.
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

RENEWAL_S = 2.0
"""Time between lease renewals: a third of a lease, so that two renewals may be lost (P13)."""
RESULTS_AT_ONCE = 256
DEAD_AT_ONCE = 16
NO_SURVIVOR = "no worker survived it"


@dataclass(frozen=True, slots=True)
class MasterSettings:
    """`name`: this incarnation; `slots`: how many jobs run at a time; `retention_s`: as in `StoreLimits`."""

    name: str
    slots: int = 64
    retention_s: float = 24 * 3600.0

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise Misuse("a master needs at least one slot")


class Master:
    """A `Service` that runs jobs."""

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
        self._context = MasterContext(broker, cache, locks, EventPublisher(broker), clock)
        self._runners: dict[int, JobRunner] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._offer_subscriptions: list[Subscription] = []
        self._acquirer = JobAcquirer(settings.name, locks, broker, clock, self.free_slots, self.running, self._on_grant)
        self._job_changed = asyncio.Event()
        self._renewal_missed = False
        self.ended_count = 0
        self.lost_count = 0

    def running(self) -> int:
        """Return how many jobs are running."""
        return len(self._runners)

    def free_slots(self) -> int:
        """Return how many more jobs it could take; 0 while it runs a job that needs a master of its own (P16)."""
        if any(runner.run.wants_master for runner in self._runners.values()):
            return 0
        return self._settings.slots - len(self._runners)

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
            self._offer_subscriptions.append(
                await self._broker.consume(queue.name, self._acquirer.on_delivery, OFFERS_AT_ONCE)
            )
        self._loops = [asyncio.create_task(self._acquirer.run()), asyncio.create_task(self._keep_renewing())]

    async def drain(self) -> None:
        """Take no new jobs, give running jobs back, and wait for those whose results are being stored."""
        self._acquirer.is_open = False
        await self._stop_consuming_offers()
        released: list[Decision] = []
        for job, runner in list(self._runners.items()):
            if not runner.is_finishing:
                self._tasks[job].cancel()
                released.append(Release(job, runner.run.token))
                await runner.cancel_tasks()
        if released:
            await self._give_back(released)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _stop_consuming_offers(self) -> None:
        offers, self._offer_subscriptions = self._offer_subscriptions, []
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
        await self._stop_consuming_offers()

    # --- jobs ------------------------------------------------------------------------------------

    def _on_grant(self, grant: Grant, asked_at: float) -> None:
        known = self._runners.get(grant.job)
        if known is not None and known.run.token >= grant.token:
            return
        if not self._acquirer.is_open:
            self._spawn(-grant.token, self._give_back([Release(grant.job, grant.token)]))
            return
        self._drop(grant.job)
        reply_to = topology.task_results(self._settings.name).name
        try:
            kind = self._kinds.find(grant.kind)
            plan = _plan(kind, grant, self._clock.wall())
            run = JobRun(grant, plan, reply_to, asked_at, self._clock.monotonic())
        except Exception as problem:
            log.exception("job cannot be planned", extra={"action": "job_unplanned", "job": grant.job})
            failure = Failure(problem.code, problem.message) if isinstance(problem, BadInput) else BUG
            self._spawn(-grant.token, self._refuse(grant, failure))
            return
        runner = self._runners[grant.job] = JobRunner(run, kind, self._context)
        self._spawn(grant.job, self._run_job(runner))

    def _spawn(self, key: int, work: Coroutine[Any, Any, None]) -> None:
        """Start an asyncio task. `key`: the job's number, or the negative token of a job that is not run."""
        task = self._tasks[key] = asyncio.create_task(work)
        task.add_done_callback(partial(self._ended, key))

    def _ended(self, key: int, task: asyncio.Task[None]) -> None:
        """Clean up after a task. A done callback also runs for a task that was cancelled before its first step."""
        if self._tasks.get(key) is task:
            del self._tasks[key]
            self._runners.pop(key, None)
        self._acquirer.wake()

    async def _refuse(self, grant: Grant, failure: Failure) -> None:
        """End a job that cannot be planned as failed, so that it has an outcome (I1)."""
        try:
            await self._context.end_job(grant.job, grant.token, Ending(Outcome.FAILED, failure=failure))
        except LostAuthority:
            log.warning("lease lost", extra={"action": "lease_lost", "job": grant.job, "token": grant.token})

    async def _run_job(self, runner: JobRunner) -> None:
        try:
            await runner.drive()
            self.ended_count += 1
        except LostAuthority:
            self._lost(runner)
        except Exception:
            log.exception("running the job failed", extra={"action": "driver_failed", "job": runner.run.job})

    def _drop(self, job: int) -> None:
        if self._runners.pop(job, None) is not None:
            self._tasks.pop(job).cancel()

    def _lost(self, runner: JobRunner) -> None:
        self.lost_count += 1
        log.warning("lease lost", extra={"action": "lease_lost", "job": runner.run.job, "token": runner.run.token})

    # --- lease renewals --------------------------------------------------------------------------

    def _on_control(self, body: bytes) -> None:
        try:
            message = read_control(body)
        except DecodeError as problem:
            log.error(
                "unreadable control message dropped", extra={"action": "control_unreadable", "reason": problem.message}
            )
            return
        if isinstance(message, JobChanged) and message.job in self._runners:
            self._job_changed.set()

    async def _keep_renewing(self) -> None:
        while True:
            await self._wait_for_renewal(RENEWAL_S)
            try:
                self._drop_stuck()
                if self._runners:
                    await self._renew_leases(list(self._runners.values()))
            except Exception:  # without renewals every lease would be lost
                log.exception("lease renewal failed", extra={"action": "beat_failed"})

    def _drop_stuck(self) -> None:
        """Stop renewing the leases of stuck jobs. When a lease expires, another master takes the job (P17)."""
        for runner in [runner for runner in self._runners.values() if runner.is_stuck()]:
            log.error("job stuck", extra={"action": "job_stuck", "job": runner.run.job, "token": runner.run.token})
            self._abandon(runner)

    def _abandon(self, runner: JobRunner) -> None:
        """Drop a job that this master has lost.

        Workers are told in a separate task, because lease renewals must not wait for the broker.
        """
        self._drop(runner.run.job)
        self._lost(runner)
        self._spawn(-runner.run.token, runner.cancel_tasks())

    async def _wait_for_renewal(self, seconds: float) -> None:
        """Wait until the next renewal is due, or until a `JobChanged` message makes it due now."""
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        changed = asyncio.ensure_future(self._job_changed.wait())
        try:
            await asyncio.wait((timer, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            changed.cancel()
            self._job_changed.clear()

    async def _renew_leases(self, runners: list[JobRunner]) -> None:
        sent_at = self._clock.monotonic()
        reach(Point.BEAT_BEGUN)
        try:
            answers = await self._locks.beat([runner.lease_renewal() for runner in runners])
        except Unavailable as problem:
            if not self._renewal_missed:
                log.warning("lease renewal not answered", extra={"action": "beat_missed", "reason": problem.reason})
            self._renewal_missed = True
            return
        self._renewal_missed = False
        reach(Point.BEAT_ANSWERED)
        for runner, answer in zip(runners, answers, strict=True):
            try:
                runner.on_lease_answer(answer, sent_at)
            except LostAuthority:
                if self._runners.get(runner.run.job) is runner and not runner.is_finishing:
                    self._abandon(runner)

    # --- results ---------------------------------------------------------------------------------

    async def _on_result(self, delivery: Delivery) -> None:
        try:
            result = read_task_result(delivery.body)
        except DecodeError as problem:
            log.error("unreadable result dropped", extra={"action": "result_unreadable", "reason": problem.message})
        else:
            reach(Point.RESULT_TAKEN)
            runner = self._runners.get(result.job)
            if runner is not None:
                runner.take(result)
            reach(Point.RESULT_FOLDED)
        delivery.acknowledge()

    async def _on_dead_task(self, delivery: Delivery) -> None:
        """Report a task that no worker survived to the master it belongs to (P21)."""
        try:
            task = read_task(delivery.body)
            result = TaskResult(task.job, task.token, task.task, error=NO_SURVIVOR, died=not task.alone)
            await self._broker.publish(task.reply_to, pack(result))
            extra = {"action": "task_dead", "job": task.job, "task": task.task, "was_alone": task.alone}
            log.warning("no worker survived a task", extra=extra)
        except DecodeError as problem:
            log.error("unreadable task dropped", extra={"action": "task_unreadable", "reason": problem.message})
        except Unavailable:
            log.warning("dead task dropped: its master is gone", extra={"action": "task_orphaned"})
        delivery.acknowledge()


def _plan(kind: JobKind, grant: Grant, now_wall: float) -> Plan:  # type: ignore[type-arg]
    spec = kind.unpack_spec(grant.spec)
    return kind.plan(spec, since=now_wall - max(0.0, kind.timeout_s(spec) - grant.remaining_s))
