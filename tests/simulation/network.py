"""What lies between processes: requests and answers that come late, twice, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import aiohttp

from roost.backend.lock.client import LockClient
from roost.backend.lock.server import LockServer
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.auth import NO_SECRET
from roost.wire.clock import Clock
from roost.wire.codec import pack
from roost.wire.errors import Unavailable
from tests.simulation.nodes import Node

Route = Callable[[bytes], Awaitable[object]]


@dataclass
class Weather:
    """How bad things are. Shares are of messages; `until_s` is when all is well again, in virtual seconds."""

    chance: Random
    is_bad: bool = True
    lost_share: float = 0.0
    doubled_share: float = 0.0
    late_share: float = 0.0
    cut_off: dict[str, float] = field(default_factory=dict)
    """Until when a process reaches no lock server."""
    broker_bad_until: float = 0.0

    def hits(self, share: float) -> bool:
        """Whether bad luck of this share strikes now."""
        return self.is_bad and self.chance.random() < share

    def delay_s(self) -> float:
        """Of one message on its way."""
        if self.hits(self.late_share):
            return self.chance.uniform(0.5, 12.0)
        return self.chance.expovariate(1 / 0.003)

    def short_delay_s(self) -> float:
        """Of what keeps its order, so that nothing may be very late."""
        return self.chance.expovariate(1 / 0.003)

    def broker_trouble(self) -> str:
        """What becomes of a publish: "", or refused "before" or "after" the broker had it."""
        if not self.is_bad or asyncio.get_running_loop().time() >= self.broker_bad_until:
            return ""
        return self.chance.choice(["before", "after"])


class Locks:
    """The lock servers, by address; each is a process over the one store."""

    def __init__(self, store: SqliteStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.servers: dict[str, tuple[Node, LockServer]] = {}

    def start(self, name: str) -> None:
        """A new life of the server."""
        node = Node(name)
        server = LockServer(self._store, NO_SECRET, clock=self._clock)
        self.servers[name] = node, server
        node.spawn(server._tick())

    def addresses(self) -> list[str]:
        """As discovery has them: the dead are listed for a while, too."""
        return list(self.servers)

    def route(self, address: str, path: str) -> tuple[Node, Route] | None:
        """What answers there, and as whom; None for nobody."""
        node, server = self.servers[address]
        routes: dict[str, Route] = {
            "/v1/decide": server._on_decide,
            "/v1/beat": server._on_beat,
            "/v1/part": server._on_part,
            "/v1/parts": server._on_parts,
            "/v1/sweep": server._on_sweep,
        }
        return None if node.is_dead else (node, routes[path])


class SimulatedLockClient(LockClient):
    """The real client over a simulated network."""

    def __init__(self, locks: Locks, node: Node, weather: Weather) -> None:
        super().__init__(locks.addresses, NO_SECRET)
        self._locks, self._node, self._weather = locks, node, weather

    async def start(self) -> None:
        """Nothing to open."""

    async def _post(self, url: str, body: bytes, timeout_s: float) -> bytes:
        await self._node.alive()
        address, _, path = url.partition("/")
        async with asyncio.timeout(timeout_s):
            answer = await self._exchange(address, "/" + path, body)
        await self._node.alive()
        return answer

    async def _exchange(self, address: str, path: str, body: bytes) -> bytes:
        weather, loop = self._weather, asyncio.get_running_loop()
        if weather.is_bad and loop.time() < weather.cut_off.get(self._node.name, 0.0):
            raise aiohttp.ClientError("cut off")
        answered: asyncio.Future[bytes] = loop.create_future()
        for _ in range(2 if weather.hits(weather.doubled_share) else 1):
            if not weather.hits(weather.lost_share):
                loop.call_later(weather.delay_s(), self._arrive, address, path, body, answered)
        return await answered

    def _arrive(self, address: str, path: str, body: bytes, answered: asyncio.Future[bytes]) -> None:
        """The request is at the server, whether or not anybody still waits for the answer."""
        found = self._locks.route(address, path)
        if found is None:
            if not answered.done():
                answered.set_exception(aiohttp.ClientError("refused"))
            return
        node, route = found
        node.spawn(self._serve(route, body, answered))

    async def _serve(self, route: Route, body: bytes, answered: asyncio.Future[bytes]) -> None:
        try:
            answer = pack(await route(body))
        except Unavailable:
            return
        if not self._weather.hits(self._weather.lost_share):
            await asyncio.sleep(self._weather.delay_s())
            if not answered.done():
                answered.set_result(answer)
