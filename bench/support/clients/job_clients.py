"""Python clients that each always have one job in flight.

``python -m bench.support.clients.job_clients COUNT LEVELS URL [URL …]``

They are `roost.connect` clients, with discovery's URLs. A job has LEVELS levels of one task that takes a tenth of a
second (the `Steps` kind of the system's tests); when its result arrives, the client submits the next one. It is
commanded by lines on standard input:

``stats``   answers the figures of `Asked` as JSON, reconnects since ``mark``
``mark``    resets the count of reconnects; answers ``marked``
``finish``  submits no new jobs; answers the same figures when all jobs are finished
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field

from roost.client.client import CONNECT_WITHIN_S, Client
from roost.client.connection import PATIENCE_S
from roost.client.effects import Ended, News, Welcomed
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.errors import RoostError

KIND = "steps"
CLIENTS_AT_ONCE = 20
"""Connecting side by side: a hundred at one moment would wait for each other in one process."""


@dataclass
class Asked:
    """What the clients saw."""

    clients: int = 0
    connected: int = 0
    in_flight: int = 0
    submitted: int = 0
    answered: int = 0
    """Requests with the whole result."""
    wrong: list[str] = field(default_factory=list)
    """Requests that failed or came back incomplete."""
    doubled: int = 0
    """Requests that ended more than once."""
    left: dict[str, int] = field(default_factory=dict)
    """Connections that ended before the client had the next one, by their close code, since ``mark``."""
    most_reconnects: int = 0
    """The most reconnects of one client, since ``mark``."""


class JobClient(Client):
    """A client that counts what comes."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(urls, True, None, CONNECT_WITHIN_S, PATIENCE_S, SYSTEM_CLOCK)
        self.welcomes = 0
        self.ends: Counter[str] = Counter()

    def _deliver(self, effect: Ended | News | Welcomed) -> None:
        self.welcomes += isinstance(effect, Welcomed)
        if isinstance(effect, Ended):
            self.ends[effect.request] += 1
        super()._deliver(effect)


class Leavings(logging.Handler):
    """Counts what the client logs of connections that are over."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "action", "") == "link_over":
            self.codes[str(vars(record)["code"])] += 1


class JobClients:
    """All clients of this process."""

    def __init__(self, count: int, levels: int, urls: list[str]) -> None:
        self._clients = [JobClient(urls) for _ in range(count)]
        self._spec = {"levels": levels, "behave": "slow"}
        self._expected = [[str(level)] for level in range(levels)]
        self._leavings = Leavings()
        self._is_finishing = False
        self._asked = Asked(clients=count)
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, hear: Callable[[], str]) -> None:
        """Connect, say ``ready``, ask on, and obey lines until they end."""
        log = logging.getLogger("roost.client.connection")
        log.setLevel(logging.INFO)
        log.addHandler(self._leavings)
        async with AsyncExitStack() as stack:
            for first in range(0, len(self._clients), CLIENTS_AT_ONCE):
                some = self._clients[first : first + CLIENTS_AT_ONCE]
                await asyncio.gather(*(stack.enter_async_context(client) for client in some))
            self._tasks = [asyncio.create_task(self._ask_on(number)) for number in range(len(self._clients))]
            print("ready", flush=True)
            while words := (await asyncio.to_thread(hear)).split():
                print(await self._obey(words[0]), flush=True)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _obey(self, word: str) -> str:
        if word == "mark":
            self._leavings.codes.clear()
            for client in self._clients:
                client.welcomes = 0
            return "marked"
        if word == "finish":
            self._is_finishing = True
            await asyncio.gather(*self._tasks)
        return json.dumps(asdict(self._figures()))

    def _figures(self) -> Asked:
        asked = self._asked
        asked.connected = sum(client._session.is_welcome for client in self._clients)
        asked.in_flight = sum(len(client._session.unfinished()) for client in self._clients)
        asked.doubled = sum(count > 1 for client in self._clients for count in client.ends.values())
        asked.left = dict(self._leavings.codes)
        asked.most_reconnects = max(client.welcomes for client in self._clients)
        return asked

    async def _ask_on(self, number: int) -> None:
        client, asked = self._clients[number], self._asked
        while not self._is_finishing:
            asked.submitted += 1
            request = client.submit(KIND, {**self._spec, "max_seconds": 3600 + number + asked.submitted / 1e6})
            try:
                result = await request.result()
            except RoostError as problem:
                asked.wrong.append(f"{request.id}: {problem}")
                continue
            if result.parts == self._expected:
                asked.answered += 1
            else:
                asked.wrong.append(f"{request.id}: {len(result.parts)} parts")


if __name__ == "__main__":
    asyncio.run(JobClients(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]).run(sys.stdin.readline))
