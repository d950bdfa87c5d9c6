"""One cell: what the clients do, the fault at the point, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from bench.support import audit
from bench.support.components import Process
from bench.support.lane import Lane, go_on
from roost.wire.messages.client import Accepted, Level
from tests.faults.matrix import PARTS, Action, Cell
from tests.faults.witness import Auditor

REACHED_WITHIN_S = 60.0
ENDED_WITHIN_S = 120.0
SETTLED_WITHIN_S = 60.0
AWAY_S = 20.0
"""How long a master is stopped or cut off."""
HANGING_S = 0.3
LATE_S = 2.0
"""Time for a master that comes back to do what it should not."""


class Broken(Exception):
    """A cell in which something did not hold."""


class Trial:
    """A cell in a lane."""

    def __init__(self, cell: Cell, lane: Lane) -> None:
        self._cell, self._lane = cell, lane
        self._tasks: list[asyncio.Task[object]] = []
        lane.cells_run += 1
        self._ids = [f"{cell}-{lane.cells_run}-{name}" for name in ("a", "b")]
        self.witnesses = [Auditor(lane.urls, name) for name in self._ids]

    async def run(self) -> int:
        """Raises Broken. How often a lease was granted anew."""
        try:
            for witness in self.witnesses:
                await witness.start()
            if self._cell.step not in _SPECIAL:
                self._lane.ask(self._cell.point)
            acting = self._later(self._act())
            await self._strike(await self._reached())
            await self._all_end(acting)
            return await self._check()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.gather(*(witness.close() for witness in self.witnesses))

    def _later(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    # --- what clients do -----------------------------------------------------------------------------

    async def _act(self) -> None:
        """Two clients ask for different jobs; with some steps, the first of them then does something."""
        (a, b), (first, second) = self.witnesses, self._ids
        levels, size = _LENGTH.get(self._cell.step, (3, 40_000))
        a.submit(first, levels=levels, width=3, bytes=size, behave="slow" if levels > 3 else "")
        b.submit(second, levels=1, width=5, bytes=7)
        if self._cell.step in _SPECIAL:
            await a.until(lambda: a.has_heard(first, Accepted) and a.has_heard(first, Level))
            self._lane.ask(self._cell.point)
            await _SPECIAL[self._cell.step](self, a, first)

    async def _come_back(self, witness: Auditor, _: str) -> None:
        witness.lose_connection()

    async def _give_up(self, witness: Auditor, request: str) -> None:
        witness.cancel(request)

    async def _dismiss(self, _: Auditor, __: str) -> None:
        """The master is to end, and another is there."""
        (master,) = self._lane.running("master")
        self._later(self._lane.boot("master"))
        master.child.terminate()

    # --- the fault -----------------------------------------------------------------------------------

    async def _reached(self) -> Process:
        try:
            async with asyncio.timeout(REACHED_WITHIN_S):
                return await self._lane.stopped_at(self._cell.point)
        except TimeoutError:
            raise Broken(f"nobody reached {self._cell.point} within {REACHED_WITHIN_S:g} s") from None

    async def _strike(self, stopped: Process) -> None:
        """Let it happen, and the process at the point go on."""
        lane, victim = self._lane, self._cell.victim
        if self._cell.action in (Action.STOP, Action.CUT):
            await self._take_away(stopped)
        elif victim in PARTS:
            await self._kill_part(stopped)
        else:
            engine = lane.engines.find(victim)
            if self._cell.action is Action.HANG:
                await asyncio.to_thread(engine.freeze)
                go_on(stopped)
                await asyncio.sleep(HANGING_S)
            await asyncio.to_thread(engine.kill)
            go_on(stopped)
            await asyncio.to_thread(engine.start)

    async def _kill_part(self, stopped: Process) -> None:
        """The process at the point, if it is of the victim's kind; else all of them. Others are started."""
        lane, kind = self._lane, self._cell.victim
        doomed = [stopped] if lane.kind_of(stopped) == kind else lane.running(kind)
        await lane.kill(*doomed)
        go_on(stopped)
        for _ in doomed:
            self._later(lane.boot(kind))

    async def _take_away(self, stopped: Process) -> None:
        """The master is away for a while; meanwhile there is another."""
        lane = self._lane
        (master,) = lane.running("master")
        if self._cell.action is Action.CUT:
            lane.cut()
        else:
            master.freeze()
        if self._cell.action is Action.CUT or stopped is not master:
            go_on(stopped)
        self._later(lane.boot("master"))
        await asyncio.sleep(AWAY_S)
        lane.heal()
        go_on(master)
        await asyncio.sleep(LATE_S)

    # --- what must hold ------------------------------------------------------------------------------

    async def _all_end(self, acting: asyncio.Task[object]) -> None:
        try:
            async with asyncio.timeout(ENDED_WITHIN_S):
                await acting
                for witness in self.witnesses:
                    await witness.until(lambda witness=witness: not witness.lost())  # type: ignore[misc]
                await asyncio.gather(*self._tasks)
        except TimeoutError:
            lost = [request for witness in self.witnesses for request in witness.lost()]
            await asyncio.gather(*(task for task in self._tasks if task.done()))  # who was not started again says why
            raise Broken(f"lost: no outcome of {', '.join(lost)} within {ENDED_WITHIN_S:g} s") from None

    async def _check(self) -> int:
        for witness in self.witnesses:
            if doubled := witness.doubled():
                raise Broken(f"doubled: {', '.join(doubled)}")
            if strayed := witness.strayed():
                raise Broken(f"strayed: {', '.join(strayed)}")
        account = await self._settled()
        if wrong := account.violations():
            raise Broken("; ".join(wrong))
        return account.takeovers()

    async def _settled(self) -> audit.Account:
        """The store's account, once all is acknowledged and over."""
        left = ["the store does not answer"]
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN_S):
                while True:
                    with suppress(subprocess.CalledProcessError):
                        postgres, database = self._lane.engines.postgres, self._lane.database
                        account = await asyncio.to_thread(audit.look, postgres, database, self._ids)
                        left = list(account.unsettled(self._ids).values())
                        if not left:
                            return account
                    await asyncio.sleep(0.3)
        raise Broken(f"not settled within {SETTLED_WITHIN_S:g} s: {'; '.join(left)}")


_SPECIAL: dict[str, Callable[[Trial, Auditor, str], Awaitable[None]]] = {
    "resume": Trial._come_back,
    "cancel": Trial._give_up,
    "release": Trial._dismiss,
}
_LENGTH = {"beat": (30, 10), "sweep": (100, 10), "resume": (15, 10), "cancel": (60, 10), "release": (40, 10)}
"""Levels of 0.1 s and bytes for steps that need a job that takes a while."""
