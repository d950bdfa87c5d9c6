"""When a host may be asked: at most so many requests at a time, a delay apart where it asks for that, and not while it
wants to be left alone.

A task that must not run yet is given back (`Later`, P20). It keeps its place in the worker for a quarter of a second at
most, where others are just being answered, and a little longer on the way through redirects: who gave back then would
begin again at the first.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backend.kinds.api import Later
from backend.kinds.crawl.fetch import NotFetched
from backend.kinds.crawl.pace import (
    MOST_WAIT_S,
    STATUS_TRIES,
    TIMEOUT_TRIES,
    Tries,
    Window,
    backoff_s,
    is_passing,
    retry_after_s,
)
from backend.kinds.crawl.turns import Hold, Turns
from backend.kinds.crawl.urls import host as host_of
from wire.clock import Clock

_luck = random.SystemRandom()

PATIENCE_S = 0.25
HOP_WAIT_S = 10.0
SHARE_S = 2.0
"""How often a worker that asks a host looks who else does."""
MOST_HOSTS = 10_000


class Host:
    """What a worker knows of a host; times are monotonic seconds."""

    def __init__(self, name: str, most: int) -> None:
        self.name, self.most = name, most
        self.window = Window()
        self.asked = 0
        """Requests in flight."""
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.next_at = 0.0
        self.is_taking_turn = False
        self.share_until = 0.0
        self.held_until = 0.0
        self.held_for = ("", 0)

    def has_room(self) -> bool:
        """One more request may be made."""
        return self.asked < self.window.at_once(self.most)

    def leave(self) -> None:
        """A request is over: those who wait come in."""
        self.asked -= 1
        while self.waiting and self.has_room():
            first = self.waiting.popleft()
            if not first.done():
                self.asked += 1
                first.set_result(None)

    def is_idle(self, now: float) -> bool:
        """Forgetting it would change nothing that anybody notices."""
        return not (self.asked or self.waiting or self.is_taking_turn) and max(self.next_at, self.held_until) <= now


class Hosts:
    """All hosts of a worker. `at_once` is for each of them, in all workers together."""

    def __init__(self, turns: Turns, clock: Clock, at_once: int) -> None:
        self._turns, self._clock, self._at_once = turns, clock, at_once
        self._hosts: OrderedDict[str, Host] = OrderedDict()
        self._tries = Tries()

    @asynccontextmanager
    async def visit(self, url: str, number: int, delay_s: float = 0.0, last_at: float = 0.0) -> AsyncIterator[None]:
        """Around a request, the hop of that number, `delay_s` after the last one; another was at `last_at` (wall).

        Raises Later for the first hop when it must not be made yet, NotFetched when its host pauses for long.
        """
        host = self._host(host_of(url))
        await self._look_around(host)
        waited_s = 0.0
        while (wait_s := await self._wait_s(host, delay_s, last_at, url)) and waited_s < HOP_WAIT_S:
            if not number:
                raise Later(wait_s * (1 + _luck.random() / 4))
            await self._clock.sleep(min(wait_s, HOP_WAIT_S))
            waited_s += wait_s
        await self._enter(host, patiently=number > 0)
        began = self._clock.monotonic()
        try:
            yield
            now = self._clock.monotonic()
            host.window.answered(now - began, now)
        finally:
            host.leave()

    async def again_in(self, start: str, problem: NotFetched) -> float | None:
        """When to try the page at `start` again, which has failed; None when it has failed for good."""
        if not is_passing(problem.reason, problem.status):
            self._tries.over(start)
            return None
        now, host = self._clock.monotonic(), self._host(host_of(problem.url))
        host.window.troubled(1.0, now)
        pause_s = retry_after_s(problem.retry_after, self._clock.wall())
        if pause_s:
            await self._hold(host, min(pause_s, 2 * MOST_WAIT_S), problem)
        if self._tries.failed(start) >= (STATUS_TRIES if problem.status else TIMEOUT_TRIES) or pause_s > MOST_WAIT_S:
            self._tries.over(start)
            return None
        return max(pause_s, backoff_s(self._tries.count(start), _luck.random()))

    def answered(self, start: str) -> None:
        """The page at `start` was fetched."""
        self._tries.over(start)

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name, self._at_once)
            self._forget_idle()
        self._hosts.move_to_end(name)
        return host

    def _forget_idle(self) -> None:
        while len(self._hosts) > MOST_HOSTS:
            name, host = next(iter(self._hosts.items()))
            if not host.is_idle(self._clock.monotonic()):
                return
            del self._hosts[name]

    async def _look_around(self, host: Host) -> None:
        now = self._clock.monotonic()
        if now < host.share_until:
            return
        host.share_until = now + SHARE_S
        host.most, hold = await self._turns.share(host.name, self._at_once)
        if hold is not None:
            host.held_until = max(host.held_until, now + min(hold.until - self._clock.wall(), 2 * MOST_WAIT_S))
            host.held_for = (hold.reason, hold.status)

    async def _hold(self, host: Host, pause_s: float, problem: NotFetched) -> None:
        host.held_until = max(host.held_until, self._clock.monotonic() + pause_s)
        host.held_for = (problem.reason, problem.status)
        await self._turns.hold(host.name, Hold(self._clock.wall() + pause_s, problem.reason, problem.status))

    async def _wait_s(self, host: Host, delay_s: float, last_at: float, url: str) -> float:
        """How long the request must wait; 0: not at all, and it is its turn."""
        now = self._clock.monotonic()
        if host.held_until - now > MOST_WAIT_S:
            raise NotFetched(host.held_for[0], url, host.held_for[1])
        if host.held_until > now:
            return host.held_until - now
        if not delay_s:
            return 0.0
        if 0 < (rest_s := last_at + delay_s - self._clock.wall()) <= delay_s:
            return rest_s
        if host.is_taking_turn:
            return delay_s
        if host.next_at > now:
            return host.next_at - now
        host.is_taking_turn = True
        try:
            wait_s = await self._turns.take(host.name, delay_s)
        finally:
            host.is_taking_turn = False
        host.next_at = self._clock.monotonic() + (wait_s or delay_s)
        return wait_s

    async def _enter(self, host: Host, patiently: bool) -> None:
        if host.has_room() or (patiently and not host.asked):
            host.asked += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        host.waiting.append(place)
        try:
            await asyncio.wait({place}, timeout=None if patiently else PATIENCE_S)
        except asyncio.CancelledError:
            if place.done():
                host.leave()
            place.cancel()
            raise
        if not place.done():
            place.cancel()
            raise Later(PATIENCE_S * (1 + _luck.random()))
