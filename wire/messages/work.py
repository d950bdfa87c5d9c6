"""Messages that the message broker carries: events for gateways, tasks and their results (msgpack).

Queue ``done.<gateway>`` carries `GatewayEvent`, ``tasks.<kind>`` carries `Task`, and ``reply.<master>`` carries
`TaskResult`. The fanout exchange ``control`` sends each `Control` message to all of its subscribers.
`docs/protocol/guarantees.md` defines the rules that are cited by number.
"""

from __future__ import annotations

from msgspec import Struct

from roost.wire.codec import Unpacker
from roost.wire.messages.lock import JobFinished


class LevelEvent(Struct, array_like=True, frozen=True, tag="LevelNews"):
    """Piece `seq` of a level that a running job found, for requests that stream. It may be dropped (P25)."""

    requests: list[tuple[bytes, str]]
    level: int
    seq: int
    items: bytes


class ProgressEvent(Struct, array_like=True, frozen=True, tag="ProgressNews"):
    """The progress of a running job. It may be dropped (P25)."""

    requests: list[tuple[bytes, str]]
    level: int
    done: int
    known: int


GatewayEvent = JobFinished | LevelEvent | ProgressEvent


class Task(Struct, array_like=True, frozen=True):
    """One piece of work, identified by (job, token, task). Its result goes to the queue `reply_to`.

    The job kind defines the meaning of `payload`. With `alone` the worker runs no other task at the same time, because
    no worker has survived this task so far (P21).
    """

    job: int
    token: int
    task: int
    kind: str
    payload: bytes
    reply_to: str
    deadline_s: float
    alone: bool = False


class TaskResult(Struct, array_like=True, frozen=True):
    """The result of a task: its `data`, or `later_s`, or `error`.

    With `later_s` the task has to be sent again after so many seconds (P20); `error` says how the worker failed.
    `died`: no worker survived the task, and it has not yet been tried alone (P21).
    """

    job: int
    token: int
    task: int
    data: bytes = b""
    later_s: float | None = None
    error: str | None = None
    died: bool = False


class CancelTasks(Struct, array_like=True, frozen=True, tag=True):
    """Fanout `control`: workers drop tasks of this job that carry this token or an older one (P14)."""

    job: int
    token: int


class JobChanged(Struct, array_like=True, frozen=True, tag="Nudge"):
    """Fanout `control`: something about this job has changed; its master renews the lease now to learn of it."""

    job: int


Control = CancelTasks | JobChanged

read_gateway_event: Unpacker[GatewayEvent] = Unpacker(GatewayEvent, "gateway event")
read_task: Unpacker[Task] = Unpacker(Task, "task")
read_task_result: Unpacker[TaskResult] = Unpacker(TaskResult, "task result")
read_control: Unpacker[Control] = Unpacker(Control, "control message")
