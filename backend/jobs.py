"""The state machines of a job, of a client's request and of a task, each as one table: state -> event -> state.

`docs/protocol/guarantees.md` defines the rules that are cited by number (P3, P11, ...), here and elsewhere.

A (state, event) pair that is not in its table is illegal: `step` raises Misuse and nothing changes. Whether a request
has its result is never stored with the request; `request_ending` derives it from the job (P11).

::

    job       waiting --grant--> running --complete--> done | failed | cancelled | expired
                 ^                  | lease expired: granted again, another token
                 +-----release------+
              waiting --> failed | cancelled | expired      without being granted again

    request   expected --offer--> waiting --acknowledge--> acked
              expected, waiting --leave--> left --acknowledge--> acked      the job continues if others wait for it
              expected --refuse--> refused --acknowledge--> acked           over the client's limit

    task      planned --release--> out --result--> folded
              out --later--> held --release--> out                          the runner asked to run it later
              out --overdue--> planned                                      no result in time: it is sent again
              out --give up--> given up
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from roost.wire.codes import ErrorCode
from roost.wire.errors import Misuse
from roost.wire.messages.outcome import Ending, Failure, Outcome


class JobState(StrEnum):
    """State of a job as the store keeps it."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class JobEvent(StrEnum):
    """Event that changes the state of a job."""

    GRANT = "grant"
    RELEASE = "release"
    DONE = "done"
    FAIL = "fail"
    CANCEL = "cancel"
    EXPIRE = "expire"


class RequestEvent(StrEnum):
    """Event that changes the state of a request."""

    OFFER = "offer"
    REFUSE = "refuse"
    LEAVE = "leave"
    ACKNOWLEDGE = "acknowledge"


class RequestRow(StrEnum):
    """State of a request as the store's row keeps it.

    `expected`: the client named the request before its offer arrived (P12). `waiting`: the request has a job and ends
    as the job ends. `left`: the client gave the request up while the job continues for others. `refused`: the request
    was over the client's limit of live requests (P10). `acked`: acknowledged; the row stays so that a late duplicate of
    the offer starts nothing (P3).
    """

    EXPECTED = "expected"
    WAITING = "waiting"
    LEFT = "left"
    REFUSED = "refused"
    ACKED = "acked"


class TaskState(StrEnum):
    """State of a task of a running job, as its master sees it.

    `held`: delayed because a runner raised `RetryLater`. `folded`: its result is in the plan. `given up`: failed.
    """

    PLANNED = "planned"
    OUT = "out"
    HELD = "held"
    FOLDED = "folded"
    GIVEN_UP = "given up"


class TaskEvent(StrEnum):
    """Event that changes the state of a task."""

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
    """Return the state that follows `state` on `event`. Raises Misuse when the table has no such step."""
    try:
        return table[state][event]
    except KeyError:
        raise Misuse(f"{type(state).__name__} {state}: no step for {event}") from None


def spec_digest(kind: str, spec: bytes) -> bytes:
    """Return what identifies the kind and specification of a request (P3): 32 bytes."""
    return hashlib.sha256(kind.encode() + b"\0" + spec).digest()


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
    """Return how the request ended, from its row and the ending of its job; None while it has not ended."""
    if row is RequestRow.LEFT:
        return LEFT_ENDING
    if row is RequestRow.REFUSED:
        return REFUSED_ENDING
    return job if row is RequestRow.WAITING else None
