"""``python -m tests.backend.store.comparison.every_state``: compare both engines over every small state.

In each state every question is asked, in some states every two decisions after one another too: in one batch, and in
two calls. Answers and all rows afterwards must be equal. What two calls lead to is asked once for each state that a
first call leads to. Prints how many cases there were, and what differed; status 1 when something did.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tests.backend.store.comparison.engines import Engine, Names, Postgres, Rows, Sqlite
from tests.backend.store.comparison.states import State, for_pairs, one_job, two_jobs
from tests.backend.store.comparison.steps import ACQUIRES, CALLS, DECISIONS, STEPS, Step
from tests.backend.store.database import DatabaseClock

log = logging.getLogger(__name__)

OF_TWO_JOBS = [*ACQUIRES[:14], *DECISIONS[-25:-17], *CALLS]
"""In states of two jobs: what may concern both, or one because of the other."""


MOST_DIFFERENCES = 50


class TooManyDifferences(Exception):
    """There is no need to look for more."""


@dataclass
class Path:
    """How an engine got where it is: the rows, and the names of numbers."""

    rows: Rows
    names: Names = field(default_factory=Names)

    def seen(self) -> Names:
        """Names, for what an engine gives out from now on, too."""
        names = Names(self.names)
        names.of(list(self.rows.values()))
        return names

    def token(self) -> int:
        """The token that the first job has now."""
        return next((row[6] for row in self.rows["jobs"] if row[0] == 1), 5)


@dataclass
class Difference:
    """Where the engines differ, and what each said or holds."""

    where: str
    what: str
    found: list[Any]

    def __str__(self) -> str:
        return f"{self.where}\n  {self.what}:\n    " + "\n    ".join(map(repr, self.found))


class Comparison:
    """Asks both engines the same, and counts."""

    def __init__(self, engines: Sequence[Engine], of_questions: int = 1) -> None:
        self._engines, self._of_questions, self._count = engines, of_questions, 0
        self.counts: Counter[str] = Counter()
        self.differences: list[Difference] = []
        self._known: set[str] = set()

    def _differ(self, difference: Difference) -> None:
        self.differences.append(difference)
        log.error("%s", difference)
        if len(self.differences) == MOST_DIFFERENCES:
            raise TooManyDifferences

    async def alone(self, states: Iterable[State], steps: Sequence[Step]) -> None:
        """Every question in every state."""
        for state in states:
            paths = await self._write(state)
            self._known.add(repr(Names().of(list(paths[0].rows.values()))))
            for step in self._chosen(steps):
                await self._ask(f"{state.name} | {step.name}", [step], paths, "single questions")

    async def pairs(self, states: Iterable[State]) -> None:
        """Every two questions after one another, in one batch where they are decisions, and in two calls."""
        for state in states:
            paths = await self._write(state)
            for first in STEPS:
                if first.is_decision:
                    for second in self._chosen(DECISIONS):
                        name = f"{state.name} | in a batch: {first.name}, {second.name}"
                        await self._ask(name, [first, second], paths, "pairs in a batch")
                await self._after(state, first, paths)

    async def _after(self, state: State, first: Step, paths: list[Path]) -> None:
        """Every question after `first`, unless it has been asked in a state with equal rows."""
        after = await self._ask(f"{state.name} | {first.name}", [first], paths)
        key = repr(Names().of(list(after[0].rows.values()))) if after else ""
        if after and key not in self._known:
            if self._of_questions == 1:
                self._known.add(key)
            for second in self._chosen(STEPS):
                name = f"{state.name} | in two calls: {first.name}, {second.name}"
                await self._ask(name, [second], after, "pairs in two calls")
        else:
            self.counts["pairs in two calls, as in another state"] += len(STEPS)
        for engine in self._engines:
            await engine.back_to("written")

    def _chosen(self, steps: Sequence[Step]) -> Sequence[Step]:
        """All steps, or one of so many, counted over all that are to be asked."""
        chosen = steps[-self._count % self._of_questions :: self._of_questions]
        self._count += len(steps)
        return chosen

    async def _write(self, state: State) -> list[Path]:
        for engine in self._engines:
            await engine.write(state)
            await engine.mark("written")
        paths = [Path(await engine.rows()) for engine in self._engines]
        assert paths[0].rows == paths[1].rows, state.name
        return paths

    async def _ask(self, where: str, steps: Sequence[Step], paths: Sequence[Path], what: str = "") -> list[Path]:
        """Ask, compare, and return where the engines are then; nothing when they differ.

        What is counted (as `what`) is undone at once.
        """
        answers: list[Any] = []
        after = []
        for engine, path in zip(self._engines, paths, strict=True):
            questions = [step.ask(path.token()) for step in steps]
            answer, rows = (
                await engine.attempt(questions) if what else (await engine.ask(questions), await engine.rows())
            )
            answers.append(answer)
            after.append(Path(rows, path.names))
        if what:
            self.counts[what] += 1
        if answers[0] == answers[1] and after[0].rows == after[1].rows:
            return after
        for number, path in enumerate(paths):
            names = after[number].names = path.seen()
            answers[number] = names.of(answers[number])
        held = [path.names.of(list(path.rows.values())) for path in after]
        if answers[0] != answers[1]:
            self._differ(Difference(where, "answers", answers))
        elif held[0] != held[1]:
            unequal = [row for rows in zip(*held, strict=True) if rows[0] != rows[1] for row in rows]
            self._differ(Difference(where, "rows", unequal))
        else:
            return after
        return []


@asynccontextmanager
async def both_engines() -> AsyncIterator[list[Engine]]:
    """SQLite and PostgreSQL, at the same time, which stands still."""
    clock = DatabaseClock()
    await clock.start()
    postgres = Postgres()
    try:
        await postgres.start()
        try:
            yield [Sqlite(), postgres]
        finally:
            await postgres.stop()
    finally:
        await clock.stop()


async def compare(of_states: int = 1, of_questions: int = 1) -> Comparison:
    """Compare in every state, or in one of `of_states`, and there by one of `of_questions`."""
    async with both_engines() as engines:
        comparison = Comparison(engines, of_questions)
        with suppress(TooManyDifferences):
            await comparison.alone(islice(one_job(), 0, None, of_states), STEPS)
            await comparison.alone(islice(two_jobs(), 0, None, of_states), OF_TWO_JOBS)
            await comparison.pairs(islice(for_pairs(), 0, None, of_states))
    return comparison


def report(found: Comparison, began: float) -> str:
    """How many cases there were, how many differed, and how long they took since `began` (monotonic seconds)."""
    counts = [f"{count:9,} {what}" for what, count in found.counts.items()]
    return "\n".join([*counts, f"{len(found.differences):9,} differences, {time.monotonic() - began:.0f} s"])


def main() -> int:
    """0 when nothing differs."""
    name = "python -m tests.backend.store.comparison.every_state"
    parser = argparse.ArgumentParser(name, description=__doc__, allow_abbrev=False)
    parser.add_argument("--states", type=int, default=1, metavar="N", help="only one of N states")
    parser.add_argument("--questions", type=int, default=1, metavar="N", help="only one of N questions in each")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    began = time.monotonic()
    found = asyncio.run(compare(options.states, options.questions))
    sys.stdout.write(f"{report(found, began)}\n")
    return 1 if found.differences else 0


if __name__ == "__main__":
    sys.exit(main())
