"""What travels by broker: events for gateways, tasks and their results (msgpack).

Queues: ``done.<gateway>`` carries `GatewayEvent`, ``tasks.<kind>`` carries `Task`, ``reply.<master>`` carries
`TaskResult`, the fanout ``control`` carries `Control`.
"""

from __future__ import annotations

from msgspec import Struct

from roost.wire.codec import Unpacker
from roost.wire.messages.lock import JobFinished


class LevelEvent(Struct, array_like=True, frozen=True, tag="LevelNews"):
    """Piece `seq` of a level that a running job found, for requests that asked to stream; droppable (P25)."""

    requests: list[tuple[bytes, str]]
    level: int
    seq: int
    items: bytes


class ProgressEvent(Struct, array_like=True, frozen=True, tag="ProgressNews"):
    """How far a running job is; droppable (P25)."""

    requests: list[tuple[bytes, str]]
    level: int
    done: int
    known: int


GatewayEvent = JobFinished | LevelEvent | ProgressEvent


class Task(Struct, array_like=True, frozen=True):
    """One piece of work. (job, token, task) names it; `payload` is the kind's own; results go to `reply_to`.

    `alone`: no worker has survived it so far; nothing else may run beside it (P21).
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
    """What a task brought; or `later_s`: give it again after so many seconds (P20); or `error`: the worker failed.

    `died`: no worker survived it, and it has not yet been tried alone (P21).
    """

    job: int
    token: int
    task: int
    data: bytes = b""
    later_s: float | None = None
    error: str | None = None
    died: bool = False


class CancelTasks(Struct, array_like=True, frozen=True, tag=True):
    """Fanout `control`: drop tasks of this job under this token or an older one (P14)."""

    job: int
    token: int


class JobChanged(Struct, array_like=True, frozen=True, tag="Nudge"):
    """Fanout `control`: something about this job has changed; its master beats now instead of at its next time."""

    job: int


Control = CancelTasks | JobChanged

read_gateway_event: Unpacker[GatewayEvent] = Unpacker(GatewayEvent, "gateway mail")
read_task: Unpacker[Task] = Unpacker(Task, "task")
read_task_result: Unpacker[TaskResult] = Unpacker(TaskResult, "task result")
read_control: Unpacker[Control] = Unpacker(Control, "control message")
