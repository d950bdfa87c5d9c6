"""Runs one job at its master: publishes the tasks of `JobRun`, streams progress, stores the result.

There is one asyncio task for each running job. Every write carries the job's fencing token. When the lease may no
longer be trusted, nothing is published until a lease renewal is answered (P13).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from roost.backend import result_cache
from roost.backend.broker import topology
from roost.backend.broker.port import Broker
from roost.backend.cache.port import Cache
from roost.backend.kinds.api import JobKind, PlanProgress
from roost.backend.lock.client import LockClient
from roost.backend.master.event_publisher import EventPublisher
from roost.backend.master.job_run import JobRun
from roost.wire.clock import Clock
from roost.wire.codec import compress, pack
from roost.wire.codes import ErrorCode
from roost.wire.errors import LostAuthority, Misuse, Unavailable
from roost.wire.failpoints import Point, reach
from roost.wire.messages.lock import (
    Complete,
    Completed,
    LeaseAnswer,
    LeaseRenewal,
    PutPart,
    Refused,
    Verdict,
)
from roost.wire.messages.outcome import PART_BYTES, Ending, Failure, Outcome
from roost.wire.messages.work import CancelTasks, Task, TaskResult

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often (seconds) a run checks overdue tasks, its deadline and its lease, when nothing else wakes it."""
CHOOSING_S = 0.01
"""Pause (seconds) before a plan is called again that is not over although no task is out: it needs more time."""
PROGRESS_S = 0.25
"""Shortest time (seconds) between two progress messages of a job: as fast as a person can read."""
RETRY_S = 1.0
STUCK_S = 60.0
STUCK_RENEWALS = 10
"""A run is stuck (P17) when its loop has not completed a pass for `STUCK_S` seconds and this many lease renewals.

Nothing that the loop waits for takes half of that time. The count excludes a process that was suspended, for example
because its machine slept: it has not sent so many renewals in that time."""
SUMMARY_BYTES = 64 * 1024
"""Largest summary: it is part of every `JobFinished` event, and goes to the client in one message."""
FAILURE_CHARS = 1000


@dataclass(frozen=True, slots=True)
class MasterContext:
    """What all job runners of a master share."""

    broker: Broker
    cache: Cache
    locks: LockClient
    events: EventPublisher
    clock: Clock

    async def end_job(self, job: int, token: int, ending: Ending, only_part: bytes | None = None) -> None:
        """Commit the outcome of the job, then tell the gateways that wait for it. Raises LostAuthority."""
        reach(Point.COMPLETE_BEGUN)
        completed = await self._commit(Complete(job, token, ending))
        reach(Point.COMPLETE_ANSWERED)
        await self.events.job_finished(completed.watchers, job, ending, only_part if ending.parts == 1 else None)
        reach(Point.KNOCK_SENT)

    async def _commit(self, complete: Complete) -> Completed:
        while True:
            try:
                answer = (await self.locks.decide([complete]))[0]
            except Unavailable:
                await self.clock.sleep(RETRY_S)
                continue
            if isinstance(answer, Completed) and answer.verdict is Verdict.OK:
                return answer
            if isinstance(answer, Refused):
                log.error("outcome refused", extra={"action": "complete_refused", "reason": answer.message})
            raise LostAuthority(complete.job, complete.token)


def _check(what: str, size: int, most: int) -> None:
    """Raise Misuse when a kind made a part or summary that is too large: no gateway could send it."""
    if size > most:
        raise Misuse(f"a {what} of {size} bytes: at most {most} are allowed")


BUG = Failure(ErrorCode.INTERNAL, "the job failed by a bug in Roost or in its kind: see the master's log")


class JobRunner:
    """Runs one job from its grant to its committed outcome."""

    def __init__(self, run: JobRun, kind: JobKind, context: MasterContext) -> None:  # type: ignore[type-arg]
        self.run = run
        self._kind, self._context = kind, context
        self._wake = asyncio.Event()
        self._progress_due_at = 0.0
        self._last_pass_at = context.clock.monotonic()
        self._renewals_since = 0
        self.progress = PlanProgress(0, 0, 0)
        self.is_finishing = False
        self._bug: Exception | None = None

    def take(self, result: TaskResult) -> None:
        """Take the answer of a worker. If the plan raises, only this job fails; the caller sees no error."""
        try:
            self.run.take(result, self._context.clock.monotonic())
        except Exception as problem:
            self._bug = problem
        self._wake.set()

    def on_lease_answer(self, answer: LeaseAnswer, sent_at: float) -> None:
        """Take the answer to a lease renewal sent at `sent_at`. Raises LostAuthority when the lease is lost."""
        if answer.verdict is Verdict.LOST:
            raise LostAuthority(self.run.job, self.run.token)
        self.run.renewed(sent_at)
        self.run.requests = answer.watchers
        if answer.verdict is Verdict.CANCEL:
            reach(Point.CANCEL_HEARD)
            self.run.cancelled = True
        self._wake.set()

    def is_stuck(self) -> bool:
        """Return whether the run is stuck (P17). Call it once before each lease renewal.

        A run that waits for workers or for the store is not stuck.
        """
        self._renewals_since += 1
        is_late = self._context.clock.monotonic() > self._last_pass_at + STUCK_S
        return is_late and self._renewals_since >= STUCK_RENEWALS and not self.is_finishing

    async def drive(self) -> None:
        """Run the job until its outcome is committed. Raises LostAuthority."""
        try:
            outcome = await self._work()
            ending, parts = await self._store_result(outcome)
        except (LostAuthority, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("job failed by a bug", extra={"action": "job_bug", "job": self.run.job})
            ending, parts = Ending(Outcome.FAILED, failure=BUG), []
        await self._finish(ending, parts)

    def lease_renewal(self) -> LeaseRenewal:
        """Return the next lease renewal of this job."""
        now = self.progress
        return LeaseRenewal(self.run.job, self.run.token, now.level, progress=pack([now.done, now.known]))

    async def cancel_tasks(self) -> None:
        """Tell workers to drop the tasks of this job that are out."""
        if self.run.out_count:
            await self._context.broker.broadcast(topology.CONTROL, pack(CancelTasks(self.run.job, self.run.token)))

    async def _work(self) -> Outcome:
        clock = self._context.clock
        while True:
            self._wake.clear()
            if self._bug is not None:
                raise self._bug
            now = self._last_pass_at = clock.monotonic()
            self._renewals_since = 0
            self.progress = self.run.plan.progress()
            outcome = self.run.outcome(now)
            if outcome is not None:
                return outcome
            self.run.look(now)
            look_s = LOOK_S
            if self.run.is_trusted(now):
                await self._publish(self.run.release(now))
                look_s = LOOK_S if self.run.out_count else CHOOSING_S
            await self._stream(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(look_s, max(0.0, self.run.next_due() - now))):
                    await self._wake.wait()

    async def _publish(self, tasks: list[Task]) -> None:
        async def publish(task: Task) -> None:
            try:
                await self._context.broker.publish(topology.tasks(task.kind).name, pack(task))
            except Unavailable:
                self.run.unsent(task, self._context.clock.monotonic() + RETRY_S)

        if tasks:
            reach(Point.TASKS_BEGUN)
            await asyncio.gather(*map(publish, tasks))
            reach(Point.TASKS_PUBLISHED)

    async def _stream(self, now: float) -> None:
        """Stream new levels and progress; nothing while the lease is not trusted: another master may do so."""
        if not self.run.is_trusted(now):
            return
        pieces = self.run.plan.new_levels()
        requests = self.run.requests
        for piece in pieces:
            await self._context.events.level(requests, piece.level, piece.seq, piece.items)
            reach(Point.LEVEL_TOLD)
        if pieces or now >= self._progress_due_at:
            self._progress_due_at = now + PROGRESS_S
            progress = self.run.plan.progress()
            await self._context.events.progress(requests, progress.level, progress.done, progress.known)

    async def _store_result(self, outcome: Outcome) -> tuple[Ending, list[bytes]]:
        """Store the parts. Returns the ending, and the first parts that fit into the result cache."""
        self.is_finishing = True
        await self._stream(self._context.clock.monotonic())
        run, count, kept, kept_bytes = self.run, 0, list[bytes](), 0
        for part in run.plan.parts():
            _check("part", len(part), PART_BYTES)
            blob = compress(part)
            reach(Point.PART_BEGUN)
            await self._put(PutPart(run.job, run.token, count, blob))
            reach(Point.PART_ANSWERED)
            count += 1
            kept_bytes += len(blob)
            if kept_bytes <= result_cache.MOST_BYTES:
                kept.append(blob)
        summary = run.plan.summary(outcome, self._context.clock.monotonic() - run.started_at)
        _check("summary", len(summary), SUMMARY_BYTES)
        failure = run.plan.failure() if outcome is Outcome.FAILED else None
        if failure is not None:
            failure = Failure(failure.code, failure.message[:FAILURE_CHARS])
        return Ending(outcome, run.token, count, summary, failure), kept

    async def _put(self, part: PutPart) -> None:
        while True:
            try:
                if await self._context.locks.put_part(part) is Verdict.LOST:
                    raise LostAuthority(part.job, part.token)
                return
            except Unavailable:
                await self._context.clock.sleep(RETRY_S)

    async def _finish(self, ending: Ending, parts: list[bytes]) -> None:
        """Commit the ending, then tell the gateways, then the workers, and store the result in the cache."""
        run, self.is_finishing = self.run, True
        await self._context.end_job(run.job, run.token, ending, parts[0] if len(parts) == 1 else None)
        await self.cancel_tasks()
        if ending.outcome is Outcome.DONE and len(parts) == ending.parts:
            await self._keep(ending, parts)

    async def _keep(self, ending: Ending, parts: list[bytes]) -> None:
        spec = self._kind.unpack_spec(self.run.spec)
        answer = result_cache.KeptAnswer(self.run.spec, self._context.clock.wall(), ending.summary, parts)
        await result_cache.keep(self._context.cache, self._kind.name, self._kind.sharing_keys(spec), answer)
