"""Runs cells in lanes side by side, and keeps what came of each."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pytest

from bench.support import services
from bench.support.lane import Engines, Lane
from tests.faults.cell import Broken, Trial
from tests.faults.matrix import ENGINES, Cell

CELLS_OF_A_LANE = 20
"""Then it is replaced by a new one, so that a fault of long standing does not hide in an old one."""
MOST_LANES: Mapping[str, int] = {"rabbitmq": 3, "postgres": 3, "redis": 2, "cut": 4}
"""At a time. One that kills an engine has one of its own, of which RabbitMQ needs 8 s to come back."""
COST_S: Mapping[str, float] = {"plain": 7.0, "cut": 26.0, "rabbitmq": 20.0, "postgres": 8.0, "redis": 5.0}
"""About what a cell takes: whose cells will take longest begin first."""


@dataclass(frozen=True)
class Verdict:
    """What came of a cell; `problem` is "" when everything held."""

    cell: Cell
    took_s: float
    takeovers: int = 0
    problem: str = ""
    told: str = ""
    """What the processes of its lane had to say, when something did not hold."""


class Stable:
    """Engines: those that all lanes share, and those that a lane may kill, which are used again by later ones."""

    def __init__(self) -> None:
        self._free: defaultdict[str, list[services.Service]] = defaultdict(list)

    async def harness(self, lane: str) -> Engines:
        """The engines for a lane of this kind, running."""
        services.reaper()
        of = {name: await self._get(name, name == lane) for name in ENGINES}
        return Engines(of["rabbitmq"], of["postgres"], of["redis"])  # type: ignore[arg-type]

    async def unharness(self, lane: str, engines: Engines) -> None:
        """Another lane may have them."""
        if lane in ENGINES:
            engine = engines.find(lane)
            if not engine.is_running():
                await asyncio.to_thread(engine.start)
            self._free[lane].append(engine)

    async def _get(self, name: str, is_own: bool) -> services.Service:
        if not is_own:
            return await asyncio.to_thread(_SHARED[name])
        if self._free[name]:
            return self._free[name].pop()
        return await asyncio.to_thread(services.started, _MADE[name])


_SHARED: Mapping[str, Callable[[], services.Service]] = {
    "rabbitmq": services.rabbitmq,
    "postgres": services.postgres,
    "redis": services.redis,
}
_MADE: Mapping[str, type[services.Service]] = {
    "rabbitmq": services.RabbitMq,
    "postgres": services.Postgres,
    "redis": services.Redis,
}


class Runner:
    """Runs cells, `jobs` lanes side by side; `tell` hears of each verdict."""

    def __init__(self, cells: Iterable[Cell], jobs: int, tell: Callable[[Verdict], None]) -> None:
        self._left: defaultdict[str, deque[Cell]] = defaultdict(deque)
        for cell in cells:
            self._left[cell.lane].append(cell)
        self._jobs, self._tell = jobs, tell
        self._lanes: Counter[str] = Counter()
        self._stable = Stable()
        self.verdicts: list[Verdict] = []

    async def run(self) -> None:
        """All of them."""
        await self._stable.harness("plain")
        async with asyncio.TaskGroup() as group:
            for _ in range(self._jobs):
                group.create_task(self._work())

    async def _work(self) -> None:
        while (kind := self._next_kind()) is not None:
            self._lanes[kind] += 1
            try:
                await self._work_in(kind)
            finally:
                self._lanes[kind] -= 1

    def _next_kind(self) -> str | None:
        """The kind of lane that one more of helps most; None when enough are at work."""
        open_kinds = [
            kind
            for kind, left in self._left.items()
            if self._lanes[kind] < min(len(left) + self._lanes[kind], MOST_LANES.get(kind, self._jobs))
        ]
        return max(
            open_kinds, key=lambda kind: len(self._left[kind]) * COST_S[kind] / (self._lanes[kind] + 1), default=None
        )

    async def _work_in(self, kind: str) -> None:
        """Cells in one lane, until there are no more, it has seen enough of them, or something did not hold."""
        engines = await self._stable.harness(kind)
        lane = Lane(engines, can_cut=kind == "cut")
        try:
            await _opened(lane)
            for _ in range(CELLS_OF_A_LANE):
                if not self._left[kind]:
                    break
                verdict = await try_cell(self._left[kind].popleft(), lane)
                self.verdicts.append(verdict)
                self._tell(verdict)
                if verdict.problem:
                    break
        finally:
            await lane.close()
            await self._stable.unharness(kind, engines)


async def _opened(lane: Lane) -> None:
    """Try twice: what starts a dozen processes on a busy machine may be too slow for one of them."""
    try:
        await lane.open()
    except (AssertionError, TimeoutError):
        await lane.close()
        await lane.open()


async def try_cell(cell: Cell, lane: Lane) -> Verdict:
    """Run it in the lane, which is as it should be afterwards, unless something did not hold."""
    loop = asyncio.get_running_loop()
    began, trial = loop.time(), Trial(cell, lane)
    said = len(lane.complaints())
    try:
        takeovers = await trial.run()
        await lane.mend()
        if bugs := [line for line in lane.complaints() if "Traceback" in line or " ERROR " in line]:
            raise Broken(f"a part complains: {bugs[0]}")
    except (Exception, pytest.fail.Exception) as problem:
        reason = str(problem) if isinstance(problem, Broken) else traceback.format_exc()
        log = [str(heard) for witness in trial.witnesses for heard in witness.log]
        told = "\n".join([reason, "", *lane.complaints()[said:], "", *log])
        return Verdict(cell, loop.time() - began, problem=reason.strip().splitlines()[-1], told=told)
    return Verdict(cell, loop.time() - began, takeovers)
