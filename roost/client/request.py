"""A request as the application sees it: its events, its result, and how to cancel it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from roost.client.effects import Answer
from roost.client.session import as_exception
from roost.errors import JobFailed
from roost.wire.codes import ErrorCode
from roost.wire.errors import RoostError
from roost.wire.messages import client as protocol
from roost.wire.messages.outcome import Outcome

KEPT_EVENTS = 1000
"""Most events that wait for a slow reader; older ones are dropped, because the result has everything."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `known` pieces of work in `level` are finished."""

    level: int
    done: int
    known: int


@dataclass(frozen=True, slots=True)
class LevelFound:
    """Piece `seq` of what level `level` found; for a crawl, `items` are URLs."""

    level: int
    seq: int
    items: list[Any]


Event = Progress | LevelFound


@dataclass(frozen=True, slots=True)
class JobResult:
    """The decoded parts and summary of a job's result; the job kind defines their meaning."""

    outcome: Outcome
    parts: list[Any] = field(default_factory=list)
    summary: Any = None


class Request:
    """A job that was asked for. Made by `Client.submit` and `Client.resume`."""

    def __init__(
        self, request: str, kind: str, cancel: Callable[[str], None], assemble: Callable[[Answer], Any]
    ) -> None:
        self.id = request
        self.kind = kind
        self._cancel, self._assemble = cancel, assemble
        self._answer: asyncio.Future[Answer | RoostError] = asyncio.get_running_loop().create_future()
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._seen: set[tuple[int, int]] = set()
        self._something = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether the request has ended, with a result or an error."""
        return self._answer.done()

    async def result(self) -> Any:
        """Wait for the result and return it. Any number of tasks may call this any number of times.

        A job that was cancelled or ran out of time has a result too, with that outcome and what was found. Raises
        JobFailed, BadInput, Busy, Overloaded, Unreachable, ResultGone, Incomplete, Closed.
        """
        answer = await asyncio.shield(self._answer)
        if isinstance(answer, RoostError):
            raise answer
        failure = answer.failure
        if answer.outcome is not Outcome.FAILED:
            return self._assemble(answer)
        if failure is None:
            raise JobFailed(ErrorCode.INTERNAL, "the job failed without saying why", self._assemble(answer))
        if failure.code in (ErrorCode.BUSY, ErrorCode.OVERLOADED):
            raise as_exception(failure.code, failure.message)
        raise JobFailed(failure.code, failure.message, self._assemble(answer))

    async def events(self) -> AsyncIterator[Event]:
        """Events until the request is over, for a streaming request. Only one task may read them."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self.is_over:
                return
            self._something.clear()
            await self._something.wait()

    async def cancel(self) -> None:
        """Cancel the request: `result` then returns what was found so far. Does nothing once the request is over."""
        self._cancel(self.id)

    def take_news(self, news: protocol.Progress | protocol.Level) -> None:
        """Add an event; pieces that arrive twice are dropped."""
        if isinstance(news, protocol.Progress):
            self._events.append(Progress(news.level, news.done, news.known))
        elif (news.level, news.seq) not in self._seen:
            self._seen.add((news.level, news.seq))
            items = msgspec.json.decode(news.items)
            self._events.append(LevelFound(news.level, news.seq, items if isinstance(items, list) else [items]))
        self._something.set()

    def take_end(self, answer: Answer | RoostError) -> None:
        """End the request with an answer or an error."""
        if not self._answer.done():
            self._answer.set_result(answer)
        self._something.set()


def assemble_any(_: Mapping[str, Any], answer: Answer) -> JobResult:
    """The result of a job kind that has no result type of its own."""
    summary = msgspec.json.decode(answer.summary) if answer.summary else None
    return JobResult(answer.outcome, [msgspec.json.decode(part) for part in answer.parts], summary)
