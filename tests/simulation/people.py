"""Clients: the real `roost.client.session` over simulated lines. They come back whatever happens, as the SDK does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from roost.client.effects import Answer, Effect, Ended, Postponed, Restart, Send
from roost.client.session import Session
from roost.wire.codec import to_json
from roost.wire.codes import BAD_SESSION, REPLACED
from roost.wire.errors import RoostError
from roost.wire.messages.client import FromGateway
from tests.simulation.doors import Door, Line


@dataclass
class Wish:
    """One request; `spec` as JSON."""

    id: str
    spec: bytes
    cancel_after_s: float | None = None
    ends: list[Answer | RoostError] = field(default_factory=list)


class Person:
    """Has its wishes fulfilled one after the other."""

    def __init__(
        self,
        name: str,
        wishes: list[Wish],
        doors: Callable[[], list[Door]],
        chance: Random,
        wall: Callable[[], float],
        kind: str = "steps",
    ) -> None:
        self.name, self.wishes, self._kind = name, wishes, kind
        self._doors, self._chance, self._wall = doors, chance, wall
        self._session = Session(waits=True)
        self._line: Line | None = None
        self._ended = asyncio.Event()

    async def live(self) -> None:
        """Until the last wish has ended, and a little longer, so that its acknowledgement may arrive."""
        connecting = asyncio.create_task(self._stay_connected())
        try:
            for wish in self.wishes:
                await asyncio.sleep(self._chance.expovariate(1 / 2.0))
                self._ended.clear()
                self._perform(self._session.submit(wish.id, self._kind, wish.spec, stream=self._chance.random() < 0.5))
                if wish.cancel_after_s is not None:
                    asyncio.get_running_loop().call_later(wish.cancel_after_s, self._cancel, wish.id)
                await self._ended.wait()
            await asyncio.sleep(30.0)
        finally:
            connecting.cancel()

    def is_done(self) -> bool:
        """Whether every wish has ended."""
        return all(wish.ends for wish in self.wishes)

    def lose_line(self, noticed_after_s: float) -> None:
        """Its connection breaks."""
        if self._line is not None:
            self._line.end(noticed_after_s=noticed_after_s)

    def _cancel(self, request: str) -> None:
        self._perform(self._session.cancel(request))

    async def _stay_connected(self) -> None:
        while True:
            doors = self._doors()
            if doors:
                code = await self._hold(self._chance.choice(doors))
                assert code not in (REPLACED.number, BAD_SESSION.number), f"{self.name} was told {code}"
                self._line = None
                self._session.lost()
            await asyncio.sleep(self._chance.uniform(0.05, 2.0))

    async def _hold(self, door: Door) -> int:
        """A connection, until it ends; its close code."""
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def ended(code: int) -> None:
            if not over.done():
                over.set_result(code)

        self._line = door.connect(self._hear, ended)
        self._perform(self._session.opened(int(self._wall() * 1000)))
        return await over

    def _hear(self, message: FromGateway) -> None:
        self._perform(self._session.received(message))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message) if self._line is not None:
                    self._line.say(to_json(message).decode())
                case Postponed(request, after_s):
                    asyncio.get_running_loop().call_later(after_s, self._retry, request)
                case Ended(request, answer):
                    next(wish for wish in self.wishes if wish.id == request).ends.append(answer)
                    self._ended.set()
                case Restart():
                    self.lose_line(0.0)

    def _retry(self, request: str) -> None:
        self._perform(self._session.retry(request))
