"""Group commit: calls that arrive while a commit is running share the next commit (P18). No timer is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from roost.wire.messages.lock import Acquire, Attach, Decision, Detach

AskT = TypeVar("AskT")
AnswerT = TypeVar("AnswerT")

MOST = 1000
"""Approximate limit of rows in one commit; it bounds the longest wait of the calls that share it (P18)."""


def rows(decision: Decision) -> int:
    """Return about how many rows a decision touches."""
    match decision:
        case Acquire():
            return 1 + len(decision.offers)
        case Attach():
            return len(decision.requests)
        case Detach():
            return len(decision.clients)
    return 1


def _one(item: object) -> int:
    return 1


class Batcher(Generic[AskT, AnswerT]):
    """Collects items for `commit`, which takes a list and returns one answer per item, or raises for all of them.

    The items of one commit weigh at most `most` together, unless a single call weighs more.
    """

    def __init__(
        self,
        commit: Callable[[list[AskT]], Awaitable[list[AnswerT]]],
        weigh: Callable[[AskT], int] = _one,
        most: int = MOST,
    ) -> None:
        self._commit, self._weigh, self._most = commit, weigh, most
        self._waiting: list[tuple[list[AskT], asyncio.Future[list[AnswerT]]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def ask(self, items: list[AskT]) -> list[AnswerT]:
        """Return the answers in order. All items of one call are in the same commit. Raises what `commit` raises."""
        answer: asyncio.Future[list[AnswerT]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, answer))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return await answer

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                await self._commit_once(self._take())
        finally:
            self._committing = None

    def _take(self) -> list[tuple[list[AskT], asyncio.Future[list[AnswerT]]]]:
        """Remove and return waiting calls, at least one, up to the weight limit."""
        weight = taken = 0
        for items, _ in self._waiting:
            weight += sum(map(self._weigh, items))
            if taken and weight > self._most:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    async def _commit_once(self, batch: list[tuple[list[AskT], asyncio.Future[list[AnswerT]]]]) -> None:
        try:
            answers = await self._commit([item for items, _ in batch for item in items])
        except Exception as problem:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(problem)
            return
        start = 0
        for items, answer in batch:
            if not answer.done():
                answer.set_result(answers[start : start + len(items)])
            start += len(items)
