"""Makes the same calls on both engines in the same state, and says where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tests.backend.store.every_state.calls import CALLS, Call
from tests.backend.store.every_state.engines import LAST_JOB, LAST_TOKEN, Postgres, Rows, Sqlite
from tests.backend.store.every_state.states import State


@dataclass(frozen=True)
class Difference:
    """Where the engines differ."""

    state: str
    calls: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        return f"in [{self.state}] after {', '.join(self.calls)}: {self.what}"


class Comparison:
    """Both engines. `count` is how many cases were compared."""

    def __init__(self, url: str) -> None:
        self._engines = Sqlite(), Postgres(url)
        self.count = 0

    async def start(self) -> None:
        await self._engines[1].start()

    async def stop(self) -> None:
        for engine in self._engines:
            await engine.stop()

    async def compare(self, state: State, cases: Sequence[tuple[str, ...]]) -> list[Difference]:
        """Make the calls of each case in the state, one case after the other."""
        for engine in self._engines:
            await engine.enter(state)
        found = [difference for case in cases for difference in await self._case(state, case)]
        for engine in self._engines:
            await engine.leave()
        return found

    async def _case(self, state: State, names: tuple[str, ...]) -> list[Difference]:
        self.count += 1
        calls: list[Call] = [CALLS[name] for name in names]
        seen = []
        for engine in self._engines:
            answers = await engine.call(calls)
            seen.append(normal(answers, await engine.rows()))
            await engine.back()
        return [
            Difference(state.name, names, f"{name}: SQLite {_only(ours, theirs)}, PostgreSQL {_only(theirs, ours)}")
            for (name, ours), (_, theirs) in zip(*seen, strict=True)
            if ours != theirs
        ]


def singles() -> list[tuple[str, ...]]:
    """Each call by itself."""
    return [(name,) for name in CALLS]


def pairs() -> list[tuple[str, ...]]:
    """Every order of two calls; two decisions are one batch."""
    return [(first, second) for first in CALLS for second in CALLS]


def normal(answers: list[Any], rows: Rows) -> list[tuple[str, Any]]:
    """What is compared, by name. New job ids and tokens count from 1 in each engine, however it numbers them."""
    ids = sorted(row["id"] for row in rows["jobs"] if row["id"] > LAST_JOB)
    jobs = {number: f"new job {place}" for place, number in enumerate(ids, 1)}
    given = sorted({row["token"] for row in rows["jobs"] if row["token"] > LAST_TOKEN})
    tokens = {number: f"new token {place}" for place, number in enumerate(given, 1)}
    found: list[tuple[str, Any]] = [
        (f"answer {place}", _renamed(msgspec.to_builtins(answer), jobs, tokens))
        for place, answer in enumerate(answers, 1)
    ]
    return found + [(table, [_renamed_row(row, jobs, tokens) for row in rows[table]]) for table in rows]


def _renamed_row(row: dict[str, Any], jobs: dict[int, str], tokens: dict[int, str]) -> dict[str, Any]:
    changed = dict(row)
    for name in ("id", "job"):
        if name in row:
            changed[name] = jobs.get(row[name], row[name])
    if "token" in row:
        changed["token"] = tokens.get(row["token"], row["token"])
    return changed


def _renamed(value: Any, jobs: dict[int, str], tokens: dict[int, str]) -> Any:
    """The value with names for the numbers of new jobs and tokens."""
    if isinstance(value, list):
        return [_renamed(each, jobs, tokens) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and value > LAST_JOB:
        return jobs.get(value) or tokens.get(value) or value
    return round(value, 3) if isinstance(value, float) else value


def _only(ours: Any, theirs: Any) -> Any:
    """What is ours alone."""
    both_are_lists = isinstance(ours, list) and isinstance(theirs, list)
    return [each for each in ours if each not in theirs] if both_are_lists else ours
