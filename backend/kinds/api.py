"""The interface of a kind of job. The crawl implements it; implement it to run your own kind of job.

A kind has three parts, each used in a different process:

* `JobKind.parse_spec` at the gateway turns a client's JSON into a checked, normalised specification;
* `Plan` at a master is pure and synchronous: it splits one job into tasks, level by level, and folds their results. The
  same specification and the same task results, in any order, must give the same result;
* `Runner` at a worker runs one task. A task may be run more than once.

A result is a list of parts (each a JSON value of at most `PART_BYTES`) and a small JSON summary. Only the kind and its
clients interpret them; the gateway passes them on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass
from typing import Any, Generic, Protocol, TypeVar

from roost.backend.cache.port import Cache
from roost.wire.clock import Clock
from roost.wire.messages.outcome import Failure, Outcome

SpecT = TypeVar("SpecT")


@dataclass(frozen=True, slots=True)
class ResultSharing:
    """How results of a specification may be shared between requests (P9).

    `run_key`: a hash of everything that decides the result; requests with the same key may share one job. `cache_key`:
    the same without the fields to which a stored result can be cut (depth) or by which it is checked (age).
    `max_age_s`: how old a shared result may be, in seconds; 0 always asks for a new one.
    """

    run_key: bytes
    cache_key: bytes
    max_age_s: float


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task that may run now. `number` identifies it within the job; a run may take `deadline_s` seconds."""

    number: int
    payload: bytes
    deadline_s: float


@dataclass(frozen=True, slots=True)
class LevelPiece:
    """Piece `seq` of what a finished level found, for streaming clients; `items` is a bounded JSON array."""

    level: int
    seq: int
    items: bytes


@dataclass(frozen=True, slots=True)
class PlanProgress:
    """`done` of `known` tasks of `level` are done. `growth` is not used any more, and ends with 0.3."""

    level: int
    done: int
    known: int
    growth: InitVar[int | None] = None

    def __post_init__(self, growth: int | None) -> None:
        if growth is not None:
            warnings.warn("PlanProgress has no growth any more: leave it out", DeprecationWarning, stacklevel=3)


class Plan(Protocol):
    """The plan of one job at its master. It does no I/O and reads neither a clock nor random numbers."""

    def next_tasks(self, room: int) -> list[PlannedTask]:
        """Return at most `room` tasks that may run now; each task is returned once.

        This runs on an event loop. A plan that has many candidates should return what it found within about ten
        milliseconds. If it returns nothing and no task is out, it is called again soon.
        """

    def fold(self, number: int, data: bytes) -> None:
        """Add the result of a task. A repeat, or one of an unknown task, changes nothing. Raises DecodeError."""

    def give_up(self, number: int, reason: str) -> None:
        """Record the task as failed, because no worker can run it."""

    def new_levels(self) -> list[LevelPiece]:
        """Return pieces of the levels that have finished since the last call."""

    def progress(self) -> PlanProgress:
        """Return the progress of the job."""

    def is_over(self) -> bool:
        """Return whether no task is out and none is left to run."""

    def failure(self) -> Failure | None:
        """Return why the whole job failed, once it is over; None when it has a result."""

    def parts(self) -> Iterator[bytes]:
        """Iterate over the parts of the result so far; they are complete once the job is over."""

    def summary(self, outcome: Outcome, elapsed_s: float) -> bytes:
        """Return the JSON object that is sent with the parts."""


class RetryLater(Exception):
    """Raised by a runner when the task must not run before `after_s` seconds have passed (P20)."""

    def __init__(self, after_s: float) -> None:
        super().__init__(after_s)
        self.after_s = after_s


class Runner(Protocol):
    """Runs the tasks of one kind in a worker; all concurrent tasks of the worker share one runner."""

    async def start(self) -> None:
        """Open resources that tasks share, such as connections and pools."""

    async def run(self, payload: bytes, deadline_s: float) -> bytes:
        """Run one task within `deadline_s` seconds and return its result for `Plan.fold`.

        A task that cannot succeed (page missing, address refused) is a result, not an exception. Raises RetryLater to
        delay the task. Any other exception is reported as a bug. The call may be cancelled at any await.
        """

    async def stop(self) -> None:
        """Close the shared resources."""


@dataclass(frozen=True, slots=True)
class RunnerTools:
    """What a worker passes to its runners. `options` are the operator's settings for this kind.

    `name` is the incarnation of this worker; `workers` returns the names of all workers that discovery knows (P32).
    """

    cache: Cache
    clock: Clock
    options: Any = None
    name: str = ""
    workers: Callable[[], Sequence[str]] = tuple


class JobKind(Protocol, Generic[SpecT]):
    """A kind of job. It keeps no state."""

    name: str
    """Lower-case word, used in the message ``submit`` and in the name of the queue ``tasks.<name>``."""

    def parse_spec(self, text: bytes) -> SpecT:
        """Check and normalise a client's JSON. Raises BadInput with a message that tells the user what to do."""

    def pack_spec(self, spec: SpecT) -> bytes:
        """Return the specification as the bytes that the system stores and sends."""

    def unpack_spec(self, data: bytes) -> SpecT:
        """The inverse of `pack_spec`. Raises DecodeError."""

    def sharing_keys(self, spec: SpecT) -> ResultSharing:
        """Return how results of this specification may be shared."""

    def timeout_s(self, spec: SpecT) -> float:
        """Return after how many seconds the job expires with the result that it has so far (P17)."""

    def plan(self, spec: SpecT, since: float) -> Plan:
        """Return a new plan for a job that began at `since` (wall-clock seconds), perhaps at another master.

        Data found after `since` is as recent as the client can ask for, so a plan that takes over may reuse it.
        """

    def runner(self, tools: RunnerTools) -> Runner:
        """Return a new runner for one worker."""


def __getattr__(name: str) -> Any:
    """Return names from before 0.2, with a warning. They will be removed in 0.3."""
    renamed = {"Keys": _keys, "Later": RetryLater}
    if name not in renamed:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = "ResultSharing(run_key, cache_key, max_age_s)" if name == "Keys" else "RetryLater"
    warnings.warn(f"roost.backend.kinds.api.{name} is now {new}", FutureWarning, stacklevel=2)
    return renamed[name]


def _keys(run: bytes, cache: bytes, fresh_s: float) -> ResultSharing:
    return ResultSharing(run, cache, fresh_s)
