"""What a kind of job is: the seam on which the crawl sits, and where yours goes.

A kind has three faces, each used in another process:

* `JobKind.parse_spec` at the gateway: a client's JSON becomes a checked, normalised `Spec`;
* `Plan` at a master: pure and synchronous, splits one job into tasks level by level and folds their
  results; the same spec and the same task results in any order give the same answer;
* `Runner` at a worker: does one task, as often as it is asked to (tasks may be repeated).

A result is a list of parts (each a JSON value of at most `PART_BYTES`) and a small JSON summary. What they
mean is the kind's own; the gateway only passes them on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from roost.backend.cache.port import Cache
from roost.wire.clock import Clock
from roost.wire.messages.outcome import Failure, Outcome

SpecT = TypeVar("SpecT")


@dataclass(frozen=True, slots=True)
class ResultSharing:
    """How answers of a spec may be shared (P9).

    `run_key`: everything that decides the answer; requests with the same one may share a run. `cache_key`: the
    same without what a kept answer can be cut to (depth) or checked by (age). `max_age_s`: how old a shared
    answer may be, in seconds; 0 insists on a new one.
    """

    run_key: bytes
    cache_key: bytes
    max_age_s: float


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task that may run now. `number` names it within the job; `deadline_s` is how long one run may take."""

    number: int
    payload: bytes
    deadline_s: float


@dataclass(frozen=True, slots=True)
class LevelPiece:
    """Piece `seq` of what a finished level brought, for clients that stream; `items` is a bounded JSON array."""

    level: int
    seq: int
    items: bytes


@dataclass(frozen=True, slots=True)
class PlanProgress:
    """`done` of `known` tasks of `level`; `growth` only rises, with each task that brought something (P17)."""

    level: int
    done: int
    known: int
    growth: int


class Plan(Protocol):
    """One job at its master. No I/O, no clock, no randomness; `now` is monotonic seconds."""

    def next_tasks(self, room: int) -> list[PlannedTask]:
        """At most `room` tasks that may run now, each handed out once.

        Runs on an event loop: a plan that has much to choose from hands out what it found in some ten milliseconds.
        When that is nothing, and no task is out, it is asked again at once.
        """

    def fold(self, number: int, data: bytes) -> None:
        """Take a task's result. Repeats and numbers never handed out change nothing. Raises DecodeError."""

    def give_up(self, number: int, reason: str) -> None:
        """The task cannot be done by any worker: record it as failed."""

    def new_levels(self) -> list[LevelPiece]:
        """Pieces of the levels finished since the last call."""

    def progress(self) -> PlanProgress:
        """How far the job is."""

    def is_over(self) -> bool:
        """No task is out and none is left."""

    def failure(self) -> Failure | None:
        """Why the job as a whole failed, once it is over; None when it has a result."""

    def parts(self) -> Iterator[bytes]:
        """The result so far, in parts; complete once the job is over."""

    def summary(self, outcome: Outcome, elapsed_s: float) -> bytes:
        """JSON object that goes with the parts."""


class RetryLater(Exception):
    """Raised by a runner that must not do the task before `after_s` seconds have passed (P20)."""

    def __init__(self, after_s: float) -> None:
        super().__init__(after_s)
        self.after_s = after_s


class Runner(Protocol):
    """Does a kind's tasks in a worker; shared by all tasks of the worker that run at the same time."""

    async def start(self) -> None:
        """Open what tasks share (connections, pools)."""

    async def run(self, payload: bytes, deadline_s: float) -> bytes:
        """Do one task within `deadline_s` and return its result for `Plan.fold`.

        A task that cannot succeed (page missing, address refused) is a result, not an exception. Raises
        RetryLater; anything else it raises is a bug, reported as such. May be cancelled at any await.
        """

    async def stop(self) -> None:
        """Release everything."""


@dataclass(frozen=True, slots=True)
class RunnerTools:
    """What a worker lends its runners. `options` are the operator's settings for this kind.

    `name` is the worker's, and `workers` tells of all that live, by name, as far as discovery knows (P32).
    """

    cache: Cache
    clock: Clock
    options: Any = None
    name: str = ""
    workers: Callable[[], Sequence[str]] = tuple


class JobKind(Protocol, Generic[SpecT]):
    """A kind of job; stateless."""

    name: str
    """Lower-case word; names the queue ``tasks.<name>`` and stands in ``submit``."""

    def parse_spec(self, text: bytes) -> SpecT:
        """A client's JSON, checked and normalised. Raises BadInput with a sentence that says what to do."""

    def pack_spec(self, spec: SpecT) -> bytes:
        """The spec as it travels inside the system."""

    def unpack_spec(self, data: bytes) -> SpecT:
        """The inverse of `pack_spec`. Raises DecodeError."""

    def sharing_keys(self, spec: SpecT) -> ResultSharing:
        """How answers may be shared."""

    def timeout_s(self, spec: SpecT) -> float:
        """How long the job may take before it expires with what it has (P17)."""

    def plan(self, spec: SpecT, since: float) -> Plan:
        """A fresh plan for a job that began at `since` (wall seconds), perhaps at another master.

        What was found after that is as fresh as the client can ask for, so a plan that takes over may build on it.
        """

    def runner(self, tools: RunnerTools) -> Runner:
        """A runner for one worker."""


def __getattr__(name: str) -> Any:
    """The names of before 0.2, with a warning; they end with 0.3."""
    renamed = {"Keys": _keys, "Later": RetryLater}
    if name not in renamed:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = "ResultSharing(run_key, cache_key, max_age_s)" if name == "Keys" else "RetryLater"
    warnings.warn(f"roost.backend.kinds.api.{name} is now {new}", FutureWarning, stacklevel=2)
    return renamed[name]


def _keys(run: bytes, cache: bytes, fresh_s: float) -> ResultSharing:
    return ResultSharing(run, cache, fresh_s)
