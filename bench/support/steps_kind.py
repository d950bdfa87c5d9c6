"""A minimal second kind of job: levels of tasks that each return their number.

It shows what a kind must implement, and lets tests run the system without a network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated

import msgspec

from roost.backend.kinds.api import LevelPiece, PlannedTask, PlanProgress, ResultSharing, RetryLater, RunnerTools
from roost.wire.codec import JsonReader, Unpacker, pack, to_json
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, DecodeError
from roost.wire.messages.outcome import Failure, Outcome


class StepsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`levels` levels of `width` tasks, each of which returns `bytes` bytes of text; `behave` names a fault to
    simulate.
    """

    levels: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    width: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1
    bytes: Annotated[int, msgspec.Meta(ge=0, le=200_000)] = 0
    behave: str = ""
    fresh_s: float = 0.0
    max_seconds: float = 3600.0


read_json: JsonReader[StepsSpec] = JsonReader(StepsSpec, "steps spec")
read_packed: Unpacker[StepsSpec] = Unpacker(StepsSpec, "steps spec")


class StepsPlan:
    """Hands out a level when all results of the one before have been processed."""

    def __init__(self, spec: StepsSpec) -> None:
        self._spec = spec
        self._levels: list[dict[int, str]] = [{}]
        self._next = self._told = 0

    def next_tasks(self, room: int) -> list[PlannedTask]:
        first, width = (len(self._levels) - 1) * self._spec.width, self._spec.width
        numbers = range(self._next, min(self._next + room, first + width))
        self._next = numbers.stop if numbers else self._next
        return [PlannedTask(number, pack([number, self._spec.behave, self._spec.bytes]), 5.0) for number in numbers]

    def fold(self, number: int, data: bytes) -> None:
        if self._spec.behave == "bad fold":
            raise KeyError(number)
        if not data:
            raise DecodeError(ErrorCode.BAD_MESSAGE, "empty")
        self._put(number, data.decode())

    def give_up(self, number: int, reason: str) -> None:
        self._put(number, f"given up: {reason}")

    def _put(self, number: int, text: str) -> None:
        self._levels[number // self._spec.width][number] = text
        if len(self._levels[-1]) == self._spec.width and len(self._levels) < self._spec.levels:
            self._levels.append({})

    def _finished(self) -> int:
        return len(self._levels) - (len(self._levels[-1]) < self._spec.width)

    def new_levels(self) -> list[LevelPiece]:
        told, self._told = self._told, self._finished()
        return [LevelPiece(k, 0, to_json(sorted(self._levels[k]))) for k in range(told, self._told)]

    def progress(self) -> PlanProgress:
        level = len(self._levels) - 1
        return PlanProgress(level, len(self._levels[-1]), self._spec.width)

    def is_over(self) -> bool:
        return self._finished() == self._spec.levels

    def failure(self) -> Failure | None:
        return Failure("bad_content", "it was asked to fail") if self._spec.behave == "fail" else None

    def parts(self) -> Iterator[bytes]:
        for level in self._levels:
            yield to_json([level[number] for number in sorted(level)])

    def summary(self, outcome: Outcome, elapsed_s: float) -> bytes:
        padding = "x" * 100_000 if self._spec.behave == "talk" else ""
        return to_json({"levels": len(self._levels), "elapsed_s": elapsed_s, "padding": padding})


class StepsRunner:
    """Runs a task as its spec says."""

    def __init__(self) -> None:
        self.held_back: set[int] = set()
        self.begun_count = 0
        self.started = asyncio.Event()
        self.gate = asyncio.Event()

    async def start(self) -> None: ...

    async def run(self, payload: bytes, deadline_s: float) -> bytes:
        number, behave, size = msgspec.msgpack.decode(payload)
        self.started.set()
        self.begun_count += 1
        if behave == "later" and number not in self.held_back:
            self.held_back.add(number)
            raise RetryLater(0.01)
        if behave == "raise":
            raise RuntimeError("a bug")
        if behave == "slow":
            await asyncio.sleep(0.1)
        if behave == "gate":
            await self.gate.wait()
        return f"{number}{'x' * size}".encode()

    async def stop(self) -> None: ...


class Steps:
    """The kind. `runner_made` is the last runner, for tests that inspect it."""

    name = "steps"

    def __init__(self) -> None:
        self.runner_made = StepsRunner()

    def parse_spec(self, text: bytes) -> StepsSpec:
        try:
            return read_json(text)
        except DecodeError as problem:
            raise BadInput(ErrorCode.BAD_SPEC, problem.message) from problem

    def pack_spec(self, spec: StepsSpec) -> bytes:
        return pack(spec)

    def unpack_spec(self, data: bytes) -> StepsSpec:
        return read_packed(data)

    def sharing_keys(self, spec: StepsSpec) -> ResultSharing:
        key = pack(spec)
        return ResultSharing(run_key=key, cache_key=key, max_age_s=spec.fresh_s)

    def timeout_s(self, spec: StepsSpec) -> float:
        return spec.max_seconds

    def plan(self, spec: StepsSpec, since: float) -> StepsPlan:
        if spec.behave == "bad plan":
            raise RuntimeError("a bug")
        return StepsPlan(spec)

    def runner(self, tools: RunnerTools) -> StepsRunner:
        self.runner_made = StepsRunner()
        return self.runner_made
