"""Group commit: what arrives while a commit is in flight shares the next one (P18). No timer is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from roost.wire.messages.lock import Acquire, Attach, Decision, Detach

AskT = TypeVar("AskT")
AnswerT = TypeVar("AnswerT")

MOST = 1000
"""Rows in one commit, about: bounds how long the last of those who share it waits (P18)."""


def rows(decision: Decision) -> int:
    """About how many rows a decision touches."""
    match decision:
        case Acquire():
            return 1 + len(decision.offers)
        case Attach():
            return len(decision.requests)
        case Detach():
            return len(decision.clients)
    return 1


def _one(ask: object) -> int:
    return 1


class Batcher(Generic[AskT, AnswerT]):
    """Gathers asks for `commit`, which takes a list and answers each, or raises for all.

    What one commit takes weighs at most `most`, unless a single call weighs more.
    """

    def __init__(
        self,
        commit: Callable[[list[AskT]], Awaitable[list[AnswerT]]],
        weigh: Callable[[AskT], int] = _one,
        most: int = MOST,
    ) -> None:
        self._commit, self._weigh, self._most = commit, weigh, most
        self._waiting: list[tuple[list[AskT], asyncio.Future[list[AnswerT]]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, asks: list[AskT]) -> list[AnswerT]:
        """The answers, in order; all asks of one call are in the same commit. Raises what `commit` raises."""
        answer: asyncio.Future[list[AnswerT]] = asyncio.get_running_loop().create_future()
        self._waiting.append((asks, answer))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._commit_once(self._take())
        finally:
            self._worker = None

    def _take(self) -> list[tuple[list[AskT], asyncio.Future[list[AnswerT]]]]:
        """Whole calls up to the bound, at least one."""
        weight = taken = 0
        for asks, _ in self._waiting:
            weight += sum(map(self._weigh, asks))
            if taken and weight > self._most:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    async def _commit_once(self, batch: list[tuple[list[AskT], asyncio.Future[list[AnswerT]]]]) -> None:
        try:
            answers = await self._commit([ask for asks, _ in batch for ask in asks])
        except Exception as problem:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(problem)
            return
        start = 0
        for asks, answer in batch:
            if not answer.done():
                answer.set_result(answers[start : start + len(asks)])
            start += len(asks)
