"""The states of a job, of a client's request, and of a task, each as one table: state -> event -> state.

`docs/protocol/guarantees.md` defines the rules that are cited by number (P3, P11, ...), here and elsewhere.

A pair that is not in its table is illegal: `step` raises and nothing changes. Readiness of a request is never
copied from its job (P11): `request_ending` derives it.

::

    job       waiting --grant--> running --complete--> done | failed | cancelled | expired
                 ^                  | lease expired: granted again, another token
                 +-----release------+

    request   expected --offer--> waiting --acknowledge--> acked
                  \\                 | leave (others still wait for the job) --> left
                   +--leave-->  left --acknowledge--> acked
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from roost.wire.codes import ErrorCode
from roost.wire.errors import Misuse
from roost.wire.messages.outcome import Ending, Failure, Outcome


class JobState(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class JobEvent(StrEnum):
    """What moves a job."""

    GRANT = "grant"
    RELEASE = "release"
    DONE = "done"
    FAIL = "fail"
    CANCEL = "cancel"
    EXPIRE = "expire"


class RequestEvent(StrEnum):
    """What moves a request."""

    OFFER = "offer"
    REFUSE = "refuse"
    LEAVE = "leave"
    ACKNOWLEDGE = "acknowledge"


class RequestRow(StrEnum):
    """What the store's row of a request says.

    `expected`: heard of before its offer came (P12). `waiting`: has a job and shares its fate. `left`: given
    up while the job goes on for others. `refused`: over the client's limit of live requests (P10). `acked`:
    over; the row stays so that a late duplicate of the offer starts nothing (P3).
    """

    EXPECTED = "expected"
    WAITING = "waiting"
    LEFT = "left"
    REFUSED = "refused"
    ACKED = "acked"


class TaskState(StrEnum):
    """Where a task of a running job is, as its master sees it."""

    PLANNED = "planned"
    OUT = "out"
    HELD = "held"
    FOLDED = "folded"
    GIVEN_UP = "given up"


class TaskEvent(StrEnum):
    """What moves a task."""

    RELEASE = "release"
    LATER = "later"
    RESULT = "result"
    OVERDUE = "overdue"
    GIVE_UP = "give up"


_ENDINGS: Mapping[JobEvent, JobState] = {
    JobEvent.DONE: JobState.DONE,
    JobEvent.FAIL: JobState.FAILED,
    JobEvent.CANCEL: JobState.CANCELLED,
    JobEvent.EXPIRE: JobState.EXPIRED,
}

JOB_TABLE: Mapping[JobState, Mapping[JobEvent, JobState]] = {
    JobState.WAITING: {
        JobEvent.GRANT: JobState.RUNNING,
        JobEvent.FAIL: JobState.FAILED,
        JobEvent.CANCEL: JobState.CANCELLED,
        JobEvent.EXPIRE: JobState.EXPIRED,
    },
    JobState.RUNNING: {JobEvent.GRANT: JobState.RUNNING, JobEvent.RELEASE: JobState.WAITING, **_ENDINGS},
    JobState.DONE: {},
    JobState.FAILED: {},
    JobState.CANCELLED: {},
    JobState.EXPIRED: {},
}

REQUEST_TABLE: Mapping[RequestRow, Mapping[RequestEvent, RequestRow]] = {
    RequestRow.EXPECTED: {
        RequestEvent.OFFER: RequestRow.WAITING,
        RequestEvent.REFUSE: RequestRow.REFUSED,
        RequestEvent.LEAVE: RequestRow.LEFT,
        RequestEvent.ACKNOWLEDGE: RequestRow.ACKED,
    },
    RequestRow.WAITING: {RequestEvent.LEAVE: RequestRow.LEFT, RequestEvent.ACKNOWLEDGE: RequestRow.ACKED},
    RequestRow.LEFT: {RequestEvent.ACKNOWLEDGE: RequestRow.ACKED},
    RequestRow.REFUSED: {RequestEvent.ACKNOWLEDGE: RequestRow.ACKED},
    RequestRow.ACKED: {},
}

TASK_TABLE: Mapping[TaskState, Mapping[TaskEvent, TaskState]] = {
    TaskState.PLANNED: {TaskEvent.RELEASE: TaskState.OUT},
    TaskState.OUT: {
        TaskEvent.LATER: TaskState.HELD,
        TaskEvent.RESULT: TaskState.FOLDED,
        TaskEvent.OVERDUE: TaskState.PLANNED,
        TaskEvent.GIVE_UP: TaskState.GIVEN_UP,
    },
    TaskState.HELD: {TaskEvent.RELEASE: TaskState.OUT, TaskEvent.RESULT: TaskState.FOLDED},
    TaskState.FOLDED: {},
    TaskState.GIVEN_UP: {},
}

LIVE_JOBS = frozenset({JobState.WAITING, JobState.RUNNING})

EVENT_OF_OUTCOME: Mapping[Outcome, JobEvent] = {
    Outcome.DONE: JobEvent.DONE,
    Outcome.FAILED: JobEvent.FAIL,
    Outcome.CANCELLED: JobEvent.CANCEL,
    Outcome.EXPIRED: JobEvent.EXPIRE,
}

StateT = TypeVar("StateT", bound=StrEnum)
EventT = TypeVar("EventT", bound=StrEnum)


def step(table: Mapping[StateT, Mapping[EventT, StateT]], state: StateT, event: EventT) -> StateT:
    """The state after `event`. Raises Misuse when the table has no such step."""
    try:
        return table[state][event]
    except KeyError:
        raise Misuse(f"{type(state).__name__} {state}: no step for {event}") from None


LEFT_ENDING = Ending(Outcome.CANCELLED)
REFUSED_ENDING = Ending(
    Outcome.FAILED,
    failure=Failure(ErrorCode.BUSY, "you have as many live requests as you may: wait for one, or cancel one"),
)


TAKEN_ENDING = Ending(
    Outcome.FAILED,
    failure=Failure(ErrorCode.CONFLICT, "this id names another request of yours, or one that is over: choose a new id"),
)


def request_ending(row: RequestRow, job: Ending | None) -> Ending | None:
    """How the request ended, from its row and how its job ended; None while it has not."""
    if row is RequestRow.LEFT:
        return LEFT_ENDING
    if row is RequestRow.REFUSED:
        return REFUSED_ENDING
    return job if row is RequestRow.WAITING else None
