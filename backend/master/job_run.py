"""One job at its master: which tasks are out, what to do next. Pure: `now` is monotonic seconds.

The plan (`roost.backend.kinds.api.Plan`) knows what the job means; `JobRun` knows where each task is (`TASK_TABLE`),
how many may be out at once (P20), when one is overdue (P22), and for how long the lease may be trusted (P13).
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
"""Tasks of one job that are out at once (P20): a large job cannot fill the queue before a small one."""
TRUST_MARGIN_S = 1.0
"""The lease is trusted for so much less than it lasts (P13)."""
OVERDUE_FACTOR = 10.0
"""A task is given out again when this many of its deadlines have passed (P22), then twice as many: it also waits
for a worker, and a task that kills its workers comes back by the dead letters, so this is only for lost ones."""


@dataclass(slots=True)
class TaskAtWork:
    """A task that has left the plan and has not come back."""

    planned: PlannedTask
    state: TaskState = TaskState.PLANNED
    due: float = 0.0
    sent: int = 0
    is_lone: bool = False
    """No worker survived it: it gets one more chance, alone, for it may have died by another's fault (P21)."""


class JobRun:
    """A granted job. `asked_at` is when the request that granted it was first sent."""

    def __init__(self, grant: Grant, plan: Plan, reply_to: str, asked_at: float, now: float) -> None:
        self.job, self.token, self.kind = grant.job, grant.token, grant.kind
        self.spec = grant.spec
        self.watchers: list[RequestRef] = grant.watchers
        self.plan = plan
        self.started_at = now
        self.wants_master = grant.attempt >= ALONE_FROM
        """Its masters died under it: none may run anything beside it, for as long as this lease (P16)."""
        self.expires_at = now + grant.remaining_s
        self.cancelled = False
        self._lease_s = grant.lease_s
        self._trusted_until = asked_at + grant.lease_s - TRUST_MARGIN_S
        self._reply_to = reply_to
        self._out: dict[int, TaskAtWork] = {}
        self._again: deque[int] = deque()

    def is_trusted(self, now: float) -> bool:
        """The lease holds for sure; otherwise publish nothing."""
        return now < self._trusted_until

    def renewed(self, sent_at: float) -> None:
        """A beat sent at `sent_at` was answered `ok`."""
        self._trusted_until = max(self._trusted_until, sent_at + self._lease_s - TRUST_MARGIN_S)

    def outcome(self, now: float) -> Outcome | None:
        """How the job has ended, or None while there is work."""
        if self.cancelled:
            return Outcome.CANCELLED
        if not self._out and self.plan.is_over():
            return Outcome.FAILED if self.plan.failure() else Outcome.DONE
        return Outcome.EXPIRED if now >= self.expires_at else None

    def release(self, now: float) -> list[Task]:
        """Tasks to publish now: those due again first, then new ones, as far as there is room."""
        tasks = []
        while self._again:
            tasks.append(self._send(self._out[self._again.popleft()], now))
        room = MOST_OUT - len(self._out)
        for planned in self.plan.next_tasks(room) if room > 0 else ():
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
            alone=work.is_lone,
        )

    def unsent(self, task: Task, now: float) -> None:
        """Publishing failed, or nobody knows: give it out again at the next look, unless it has been answered since."""
        work = self._out.get(task.task)
        if work is not None and work.state is TaskState.OUT:
            work.due, work.sent = now, work.sent - 1

    def take(self, result: TaskResult, now: float) -> None:
        """A worker answered. Answers to other tokens, repeats and answers to tasks not out change nothing."""
        work = self._out.get(result.task)
        if result.token != self.token or work is None:
            return
        if result.later_s is not None:
            if work.state is TaskState.OUT:
                work.state = step(TASK_TABLE, work.state, TaskEvent.LATER)
                work.due, work.sent = now + result.later_s, 0
        elif result.died:
            if work.state is TaskState.OUT and not work.is_lone:
                work.is_lone, work.due = True, now
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
        """Once in a while: what is overdue, or was held back long enough, is to be released again."""
        for work in [work for work in self._out.values() if work.due <= now]:
            if work.state is TaskState.PLANNED:
                continue
            if work.state is TaskState.OUT:
                work.state = step(TASK_TABLE, work.state, TaskEvent.OVERDUE)
            self._again.append(work.planned.number)
            work.due = float("inf")

    def next_due(self) -> float:
        """When `look` will next find something, if nothing comes in before; infinity when never."""
        return min((work.due for work in self._out.values()), default=float("inf"))

    @property
    def out_count(self) -> int:
        """Tasks that are out or held back."""
        return len(self._out)
