"""The state of one running job at its master. Pure: `now` is monotonic seconds.

The plan (`roost.backend.kinds.api.Plan`) decides which tasks a job has. `JobRun` keeps the state of each task
(`TASK_TABLE`), limits how many are out at once (P20), finds overdue tasks (P22), and knows until when the lease may be
trusted (P13).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from roost.backend.jobs import TASK_TABLE, TaskEvent, TaskState, step
from roost.backend.kinds.api import Plan, PlannedTask
from roost.backend.store.port import ALONE_FROM
from roost.wire.errors import DecodeError
from roost.wire.messages.lock import Grant, RequestRef
from roost.wire.messages.outcome import Outcome
from roost.wire.messages.work import Task, TaskResult

MOST_OUT = 64
"""Most tasks of one job that are out at once (P20), so that a large job cannot fill the queue before a small one."""
TRUST_MARGIN_S = 1.0
"""The lease is trusted for this much less than it lasts, in seconds (P13)."""
OVERDUE_FACTOR = 10.0
"""A task is published again after this many times its deadline (P22), then after twice as many. The factor is large,
because a task also waits for a worker. Tasks that kill their workers come back as dead letters, so this covers only
lost tasks."""


@dataclass(slots=True)
class TaskAtWork:
    """A task that the plan has handed out and whose result has not arrived."""

    planned: PlannedTask
    state: TaskState = TaskState.PLANNED
    due: float = 0.0
    sent: int = 0
    must_run_alone: bool = False
    """No worker survived it. It is run once more, alone, because another task may have been the cause (P21)."""


class JobRun:
    """A granted job. `asked_at` is the monotonic time at which the request that granted it was first sent."""

    def __init__(self, grant: Grant, plan: Plan, reply_to: str, asked_at: float, now: float) -> None:
        self.job, self.token, self.kind = grant.job, grant.token, grant.kind
        self.spec = grant.spec
        self.requests: list[RequestRef] = grant.watchers
        self.plan = plan
        self.started_at = now
        self.wants_master = grant.attempt >= ALONE_FROM
        """Earlier masters of this job died: this master must run nothing else while it holds this lease (P16)."""
        self.expires_at = now + grant.remaining_s
        self.cancelled = False
        self._lease_s = grant.lease_s
        self._trusted_until = asked_at + grant.lease_s - TRUST_MARGIN_S
        self._reply_to = reply_to
        self._out: dict[int, TaskAtWork] = {}
        self._again: deque[int] = deque()

    def is_trusted(self, now: float) -> bool:
        """Return whether the lease is certainly still held; if not, publish nothing."""
        return now < self._trusted_until

    def renewed(self, sent_at: float) -> None:
        """Extend the trust window: a lease renewal that was sent at `sent_at` was answered `ok`."""
        self._trusted_until = max(self._trusted_until, sent_at + self._lease_s - TRUST_MARGIN_S)

    def outcome(self, now: float) -> Outcome | None:
        """Return how the job has ended, or None while there is work left."""
        if self.cancelled:
            return Outcome.CANCELLED
        if not self._out and self.plan.is_over():
            return Outcome.FAILED if self.plan.failure() else Outcome.DONE
        return Outcome.EXPIRED if now >= self.expires_at else None

    def release(self, now: float) -> list[Task]:
        """Return the tasks to publish now: first those that are due again, then new ones up to `MOST_OUT`."""
        tasks = []
        while self._again:
            tasks.append(self._send(self._out[self._again.popleft()], now))
        free = MOST_OUT - len(self._out)
        for planned in self.plan.next_tasks(free) if free > 0 else ():
            work = self._out[planned.number] = TaskAtWork(planned)
            tasks.append(self._send(work, now))
        return tasks

    def _send(self, work: TaskAtWork, now: float) -> Task:
        work.state = step(TASK_TABLE, work.state, TaskEvent.RELEASE)
        work.due = now + work.planned.deadline_s * OVERDUE_FACTOR * 2**work.sent
        work.sent += 1
        planned = work.planned
        return Task(
            job=self.job,
            token=self.token,
            task=planned.number,
            kind=self.kind,
            payload=planned.payload,
            reply_to=self._reply_to,
            deadline_s=planned.deadline_s,
            alone=work.must_run_alone,
        )

    def unsent(self, task: Task, now: float) -> None:
        """Note that publishing failed or was not confirmed. The task is due again at `now`, unless it was answered."""
        work = self._out.get(task.task)
        if work is not None and work.state is TaskState.OUT:
            work.due, work.sent = now, work.sent - 1

    def take(self, result: TaskResult, now: float) -> None:
        """Take the answer of a worker. Answers under another token, repeats and unknown tasks change nothing."""
        work = self._out.get(result.task)
        if result.token != self.token or work is None:
            return
        if result.later_s is not None:
            if work.state is TaskState.OUT:
                work.state = step(TASK_TABLE, work.state, TaskEvent.LATER)
                work.due, work.sent = now + result.later_s, 0
        elif result.died:
            if work.state is TaskState.OUT and not work.must_run_alone:
                work.must_run_alone, work.due = True, now
        elif result.error is not None:
            self._give_up(work, result.error)
        else:
            self._fold(work, result.data)

    def _fold(self, work: TaskAtWork, data: bytes) -> None:
        try:
            self.plan.fold(work.planned.number, data)
        except DecodeError as problem:
            self._give_up(work, f"unreadable result: {problem.message}")
            return
        self._forget(work)

    def _give_up(self, work: TaskAtWork, reason: str) -> None:
        self.plan.give_up(work.planned.number, reason)
        self._forget(work)

    def _forget(self, work: TaskAtWork) -> None:
        number = work.planned.number
        del self._out[number]
        if number in self._again:
            self._again.remove(number)

    def look(self, now: float) -> None:
        """Queue the tasks that are overdue, or whose delay has passed, to be published again. Call it regularly."""
        for work in [work for work in self._out.values() if work.due <= now]:
            if work.state is TaskState.PLANNED:
                continue
            if work.state is TaskState.OUT:
                work.state = step(TASK_TABLE, work.state, TaskEvent.OVERDUE)
            self._again.append(work.planned.number)
            work.due = float("inf")

    def next_due(self) -> float:
        """Return when `look` will next find a task (monotonic seconds); infinity when there is none."""
        return min((work.due for work in self._out.values()), default=float("inf"))

    @property
    def out_count(self) -> int:
        """Number of tasks that are out or delayed."""
        return len(self._out)
