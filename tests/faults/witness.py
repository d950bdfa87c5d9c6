"""A client that keeps a log of all it was told: the real session and connection of the SDK, with an ear on them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from roost.client.connection import Connection
from roost.client.effects import Answer, Ended, News, Welcomed
from roost.client.route import Link, Route
from roost.client.session import Session
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.codec import to_json
from roost.wire.errors import RoostError
from roost.wire.messages.client import Accepted, FromGateway, Result
from roost.wire.messages.outcome import Outcome
from roost.wire.messages.registry import Choice


class Tap(Link):
    """A link that writes down what comes."""

    def __init__(self, link: Link, hear: Callable[[FromGateway], None]) -> None:
        self._link, self._hear = link, hear
        self.put, self.close = link.put, link.close  # type: ignore[method-assign]

    async def receive(self) -> FromGateway | int:
        received = await self._link.receive()
        if not isinstance(received, int):
            self._hear(received)
        return received

    def abort(self) -> None:
        """The connection breaks: no goodbye."""
        connection = self._link._socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


class TappedRoute(Route):
    """Every link that it opens is tapped."""

    def __init__(self, http: aiohttp.ClientSession, urls: list[str], hear: Callable[[int, FromGateway], None]) -> None:
        super().__init__(http, urls)
        self._hear = hear
        self.count = 0
        self.last: Tap | None = None

    async def connect(self, choice: Choice) -> Link:
        link = await super().connect(choice)
        self.count += 1
        number = self.count
        self.last = Tap(link, lambda message: self._hear(number, message))
        return self.last


@dataclass(frozen=True)
class Heard:
    """A message that came, without what it carried."""

    connection: int
    kind: type[FromGateway]
    request: str | None


@dataclass(frozen=True)
class End:
    """What the application was told in the end. `is_right`: it is what was asked for, all of it and nothing else."""

    what: str
    is_right: bool


class Auditor:
    """One client; refused requests are tried again. `log` is all that it heard."""

    def __init__(self, urls: list[str], name: str) -> None:
        self.name = name
        self.log: list[Heard] = []
        self.ends: defaultdict[str, list[End]] = defaultdict(list)
        self.asked: dict[str, Mapping[str, Any]] = {}
        self.cancelled: set[str] = set()
        self._urls = urls
        self._session = Session(waits=True)
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Connect, as soon as anybody lets it in."""
        self._http = aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=None))
        self._route = TappedRoute(self._http, self._urls, self._hear)
        chance = random.SystemRandom().random
        self._connection = Connection(self._route, self._session, self._deliver, SYSTEM_CLOCK, chance)
        self._running = asyncio.create_task(self._connection.run())
        await self.until(lambda: self._session.is_welcome)

    async def close(self) -> None:
        """Be gone."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._connection.close()
        await self._http.close()

    def submit(self, request: str, **spec: Any) -> None:
        """Ask for a job of steps."""
        self.asked[request] = spec
        self._connection.perform(self._session.submit(request, "steps", to_json(spec), stream=True))

    def cancel(self, request: str) -> None:
        """Give it up."""
        self.cancelled.add(request)
        self._connection.perform(self._session.cancel(request))

    def lose_connection(self) -> None:
        """It breaks; the client comes back by itself."""
        assert self._route.last is not None
        self._route.last.abort()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to have been heard. Raises what ended the connection for good."""
        while not condition():
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            await asyncio.wait({changed, self._running}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if self._running.done():
                self._running.result()

    def has_heard(self, request: str, kind: type[FromGateway]) -> bool:
        """Whether such a message came for the request."""
        return any(heard.kind is kind and heard.request == request for heard in self.log)

    def is_waiting(self, request: str) -> bool:
        """Whether it has no outcome yet."""
        return not self.ends[request]

    def _hear(self, connection: int, message: FromGateway) -> None:
        self.log.append(Heard(connection, type(message), getattr(message, "id", None)))
        self._changed.set()

    def _deliver(self, effect: Ended | News | Welcomed) -> None:
        if isinstance(effect, Ended):
            answer = effect.answer
            what = f"{answer.outcome} {answer.failure or ''}" if isinstance(answer, Answer) else repr(answer)
            self.ends[effect.request].append(End(what.strip(), self._is_right(effect.request, answer)))
        self._changed.set()

    def _is_right(self, request: str, end: Answer | RoostError) -> bool:
        if not isinstance(end, Answer) or request not in self.asked:
            return False
        expected = [to_json(level) for level in levels_of(self.asked[request])]
        if end.outcome is Outcome.CANCELLED and request in self.cancelled:
            return all(_is_begun(part, level) for part, level in zip(end.parts, expected, strict=False))
        return end.outcome is Outcome.DONE and list(end.parts) == expected

    def story(self, request: str) -> str:
        """All that it heard of one request, and on which of its connections, for who has to find out."""
        heard = [f"{each.kind.__name__} on {each.connection}" for each in self.log if each.request == request]
        words = "cancelled, " if request in self.cancelled else ""
        ends = [end.what for end in self.ends[request]]
        return f"{request}: {words}{', '.join(heard)}; ended {ends}; it is on connection {self._route.count} now"

    # --- what it can say against the system ----------------------------------------------------------

    def lost(self) -> list[str]:
        """Requests without an outcome (I1)."""
        return [request for request in self.asked if not self.ends[request]]

    def accepted_count(self) -> int:
        """Requests that it was told are safe."""
        return len({heard.request for heard in self.log if heard.kind is Accepted})

    def doubled(self) -> list[str]:
        """Requests that ended twice for the application, or whose result came twice over one connection (I3)."""
        results = Counter((heard.connection, heard.request) for heard in self.log if heard.kind is Result)
        twice = {str(request) for (_, request), count in results.items() if count > 1}
        return sorted(twice | {request for request, ends in self.ends.items() if len(ends) > 1})

    def strayed(self) -> list[str]:
        """What came for requests of others, and results that are not what was asked for (I2)."""
        foreign = {heard.request for heard in self.log if heard.request is not None} - set(self.asked)
        return sorted(foreign) + [
            f"{request}: {end.what}" for request in self.asked for end in self.ends[request] if not end.is_right
        ]


def _is_begun(part: bytes, level: bytes) -> bool:
    """Whether what a cancelled job had found belongs to its own level."""
    return set(msgspec.json.decode(part)) <= set(msgspec.json.decode(level))


def levels_of(spec: Mapping[str, Any]) -> list[list[str]]:
    """What a job of steps finds."""
    width, padding = spec.get("width", 1), "x" * spec.get("bytes", 0)
    return [[f"{level * width + place}{padding}" for place in range(width)] for level in range(spec.get("levels", 1))]
