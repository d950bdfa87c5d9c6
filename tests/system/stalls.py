"""A kind of job like `Steps` whose tasks hold the event loop of their worker, each in another way."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import msgspec

from bench.support.steps_kind import Steps, StepsRunner
from roost.backend.kinds.api import RunnerTools

HOLD = "hold:"
"""With a path after it: block until that file is there."""


def spin() -> None:
    while True:
        pass


def backtrack() -> None:
    """The interpreter's lock is held for as long as the expression is matched: for ever."""
    re.match(r"(a+)+$", "a" * 60 + "b")


class StallsRunner(StepsRunner):
    """`behave` of the spec names the way."""

    async def run(self, payload: bytes, deadline_s: float) -> bytes:
        number, behave, _ = msgspec.msgpack.decode(payload)
        if behave == "spin":
            spin()
        elif behave == "sleep":
            time.sleep(3600)  # noqa: ASYNC251
        elif behave == "regex":
            backtrack()
        elif behave == "sum":
            sum(range(10**15))
        elif behave == "child":
            await asyncio.gather(self._child(), asyncio.sleep(3600))
        elif behave == "callback":
            asyncio.get_running_loop().call_soon(spin)
            await asyncio.sleep(3600)
        elif behave == "thread":
            await asyncio.to_thread(backtrack)
        elif behave.startswith(HOLD):
            while not Path(behave.removeprefix(HOLD)).exists():  # noqa: ASYNC240
                time.sleep(0.01)  # noqa: ASYNC251
        return str(number).encode()

    async def _child(self) -> None:
        await asyncio.sleep(0)
        spin()


class Stalls(Steps):
    """The kind itself."""

    name = "stalls"

    def runner(self, tools: RunnerTools) -> StallsRunner:
        return StallsRunner()
