"""Drives one job at its master: publishes what `JobRun` releases, streams news, stores the result.

One asyncio task a running job. Everything it writes is fenced by the token; when the lease may no longer be trusted
it publishes nothing and waits for a beat to be answered (P13).
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
"""How often a run looks for overdue tasks, its deadline and its lease, when nothing else wakes it."""
CHOOSING_S = 0.01
"""How soon a plan is asked again that has no task out and is not over: it has more to choose from."""
NEWS_S = 0.25
"""Least time between two progress messages of a job: as fast as a person can read."""
RETRY_S = 1.0
STUCK_S = 60.0
STUCK_BEATS = 10
"""A run that has not come round its loop for so long hangs (P17): nothing that it waits for takes half of that. A
process that stood still, as on a machine that slept, has not made so many beats in that time."""
SUMMARY_BYTES = 64 * 1024
"""Most bytes of a summary: it travels with every knock, and to the client in one message."""
FAILURE_CHARS = 1000


@dataclass(frozen=True, slots=True)
class MasterContext:
    """What every driver of a master works with."""

    broker: Broker
    cache: Cache
    locks: LockClient
    post: EventPublisher
    clock: Clock

    async def end_job(self, job: int, token: int, ending: Ending, only_part: bytes | None = None) -> None:
        """Commit how the job ended, then knock at the gateways that wait. Raises LostAuthority."""
        reach(Point.COMPLETE_BEGUN)
        completed = await self._commit(Complete(job, token, ending))
        reach(Point.COMPLETE_ANSWERED)
        await self.post.job_finished(completed.watchers, job, ending, only_part if ending.parts == 1 else None)
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
    """A kind that makes too much is stopped here: no gateway could send it."""
    if size > most:
        raise Misuse(f"a {what} of {size} bytes: at most {most} are allowed")


BUG = Failure(ErrorCode.INTERNAL, "the job failed by a bug in Roost or in its kind: see the master's log")


class JobRunner:
    """One job, from its grant to its committed outcome."""

    def __init__(self, run: JobRun, kind: JobKind, desk: MasterContext) -> None:  # type: ignore[type-arg]
        self.run = run
        self._kind, self._desk = kind, desk
        self._wake = asyncio.Event()
        self._news_at = 0.0
        self._came_round_at = desk.clock.monotonic()
        self._beats_since = 0
        self.progress = PlanProgress(0, 0, 0, 0)
        self.is_finishing = False
        self._bug: Exception | None = None

    def take(self, result: TaskResult) -> None:
        """A worker's answer. A plan that cannot bear it fails its job, not whoever brought the answer."""
        try:
            self.run.take(result, self._desk.clock.monotonic())
        except Exception as problem:
            self._bug = problem
        self._wake.set()

    def heard(self, answer: LeaseAnswer, sent_at: float) -> None:
        """A beat was answered. Raises LostAuthority when the job is another's."""
        if answer.verdict is Verdict.LOST:
            raise LostAuthority(self.run.job, self.run.token)
        self.run.renewed(sent_at)
        self.run.watchers = answer.watchers
        if answer.verdict is Verdict.CANCEL:
            reach(Point.CANCEL_HEARD)
            self.run.cancelled = True
        self._wake.set()

    def is_stuck(self) -> bool:
        """Whether it hangs (P17); asked once before each beat. To wait for workers or for the store is not to hang."""
        self._beats_since += 1
        is_late = self._desk.clock.monotonic() > self._came_round_at + STUCK_S
        return is_late and self._beats_since >= STUCK_BEATS and not self.is_finishing

    async def drive(self) -> None:
        """Work until the outcome is committed. Raises LostAuthority."""
        try:
            outcome = await self._work()
            ending, parts = await self._store_result(outcome)
        except (LostAuthority, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("job failed by a bug", extra={"action": "job_bug", "job": self.run.job})
            ending, parts = Ending(Outcome.FAILED, failure=BUG), []
        await self._finish(ending, parts)

    def lease_beat(self) -> LeaseRenewal:
        """What the next beat says."""
        now = self.progress
        return LeaseRenewal(self.run.job, self.run.token, now.level, now.growth, pack([now.done, now.known]))

    async def call_off(self) -> None:
        """Tell workers to drop what is out."""
        if self.run.out_count:
            await self._desk.broker.broadcast(topology.CONTROL, pack(CancelTasks(self.run.job, self.run.token)))

    async def _work(self) -> Outcome:
        clock = self._desk.clock
        while True:
            self._wake.clear()
            if self._bug is not None:
                raise self._bug
            now = self._came_round_at = clock.monotonic()
            self._beats_since = 0
            self.progress = self.run.plan.progress()
            outcome = self.run.outcome(now)
            if outcome is not None:
                return outcome
            self.run.look(now)
            look_s = LOOK_S
            if self.run.is_trusted(now):
                await self._publish(self.run.release(now))
                look_s = LOOK_S if self.run.out_count else CHOOSING_S
            await self._tell(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(look_s, max(0.0, self.run.next_due() - now))):
                    await self._wake.wait()

    async def _publish(self, tasks: list[Task]) -> None:
        async def publish(task: Task) -> None:
            try:
                await self._desk.broker.publish(topology.tasks(task.kind).name, pack(task))
            except Unavailable:
                self.run.unsent(task, self._desk.clock.monotonic() + RETRY_S)

        if tasks:
            reach(Point.TASKS_BEGUN)
            await asyncio.gather(*map(publish, tasks))
            reach(Point.TASKS_PUBLISHED)

    async def _tell(self, now: float) -> None:
        """Stream what is new, while nobody else can be doing the same."""
        if not self.run.is_trusted(now):
            return
        pieces = self.run.plan.new_levels()
        watchers = self.run.watchers
        for piece in pieces:
            await self._desk.post.level(watchers, piece.level, piece.seq, piece.items)
            reach(Point.LEVEL_TOLD)
        if pieces or now >= self._news_at:
            self._news_at = now + NEWS_S
            progress = self.run.plan.progress()
            await self._desk.post.progress(watchers, progress.level, progress.done, progress.known)

    async def _store_result(self, outcome: Outcome) -> tuple[Ending, list[bytes]]:
        """Put the parts; the ending that names them, and the parts, as far as they may be wanted again."""
        self.is_finishing = True
        await self._tell(self._desk.clock.monotonic())
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
        summary = run.plan.summary(outcome, self._desk.clock.monotonic() - run.started_at)
        _check("summary", len(summary), SUMMARY_BYTES)
        failure = run.plan.failure() if outcome is Outcome.FAILED else None
        if failure is not None:
            failure = Failure(failure.code, failure.message[:FAILURE_CHARS])
        return Ending(outcome, run.token, count, summary, failure), kept

    async def _put(self, part: PutPart) -> None:
        while True:
            try:
                if await self._desk.locks.put_part(part) is Verdict.LOST:
                    raise LostAuthority(part.job, part.token)
                return
            except Unavailable:
                await self._desk.clock.sleep(RETRY_S)

    async def _finish(self, ending: Ending, parts: list[bytes]) -> None:
        """Commit, then tell: first the gateways, then the workers and the cache."""
        run, self.is_finishing = self.run, True
        await self._desk.end_job(run.job, run.token, ending, parts[0] if len(parts) == 1 else None)
        await self.call_off()
        if ending.outcome is Outcome.DONE and len(parts) == ending.parts:
            await self._keep(ending, parts)

    async def _keep(self, ending: Ending, parts: list[bytes]) -> None:
        spec = self._kind.unpack_spec(self.run.spec)
        answer = result_cache.KeptAnswer(self.run.spec, self._desk.clock.wall(), ending.summary, parts)
        await result_cache.keep(self._desk.cache, self._kind.name, self._kind.sharing_keys(spec), answer)
