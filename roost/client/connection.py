"""Keeps one client connected: does the input and output for `Session`.

There is one link (an open WebSocket) at a time. When it ends, its close code says what to do
(`roost.wire.codes.comeback`): reconnect at once, after a pause that grows with failures, when there is work again, or
never. When a gateway sends `move`, its link is closed only after the next gateway has sent `welcome`, so that the
client always has a connection (P29).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from roost.client.backoff import STEADY_S, Backoff
from roost.client.effects import Effect, Ended, Moved, News, Postponed, Restart, Send, Welcomed
from roost.client.route import Link, NoGateway, Route
from roost.client.session import Session
from roost.errors import Closed, Unreachable
from roost.wire.clock import Clock
from roost.wire.codes import ALL_CLOSES, BAD_SESSION, Comeback, comeback
from roost.wire.messages.registry import Choice

log = logging.getLogger(__name__)

PATIENCE_S = 300.0
"""How long requests wait without any connection before they fail with Unreachable."""

Deliver = Callable[[Ended | News | Welcomed], None]


class Connection:
    """Runs a session over links, and calls `deliver` synchronously with effects for the application.

    `jitter` returns a random number in [0, 1). After `patience_s` seconds without a connection all waiting requests end
    with Unreachable; the client tries to connect again when the next request comes.
    """

    def __init__(
        self,
        route: Route,
        session: Session,
        deliver: Deliver,
        clock: Clock,
        jitter: Callable[[], float],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._route, self._session, self._deliver = route, session, deliver
        self._clock, self._jitter, self._patience_s = clock, jitter, patience_s
        self._backoff = Backoff()
        self._wanted = asyncio.Event()
        self._link: Link | None = None
        self._pump: asyncio.Task[int] | None = None
        self._mover: asyncio.Task[Link | None] | None = None
        self._leaving: list[Link] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self.problem = f"no answer from {route} yet: is it up, and is it Roost?"

    async def run(self) -> None:
        """Stay connected until cancelled. Raises Closed when a close code forbids to reconnect."""
        link: Link | None = None
        while True:
            link = link or await self._find()
            began = self._clock.monotonic()
            code, link = await self._serve(link)
            if link is None:
                await self._rest(code, self._clock.monotonic() - began)

    def perform(self, effects: list[Effect]) -> None:
        """Carry out the session's effects."""
        for effect in effects:
            match effect:
                case Send(message):
                    if self._link is not None:
                        self._link.put(message)
                case Moved():
                    self._start_move(effect)
                case Postponed():
                    self._spawn(self._retry(effect))
                case Restart(reason):
                    log.warning("connection restarted", extra={"action": "link_restart", "reason": reason})
                    self._cut()
                case Welcomed():
                    self._leave_others()
                    self._deliver(effect)
                case Ended() | News():
                    self._deliver(effect)
        self.want()

    def want(self) -> None:
        """Connect again if the session has unfinished requests."""
        if self._session.unfinished():
            self._wanted.set()

    async def close(self) -> None:
        """Close all links and end all tasks. `run` must have been cancelled before. Fine to call twice."""
        links = [link for link in (self._link, *self._leaving) if link is not None]
        self._link, self._leaving = None, []
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *([self._mover] if self._mover else [])]
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        links += [link for link in ended if isinstance(link, Link)]
        await asyncio.gather(*(link.close() for link in links), return_exceptions=True)

    # --- one link after the other -------------------------------------------------------------------

    async def _find(self) -> Link:
        """Try until a link is open. After `patience_s` seconds, wait for new work before trying again."""
        since = self._clock.monotonic()
        while True:
            try:
                return await self._route.open()
            except NoGateway as problem:
                self.problem = problem.reason
                wait_s = self._backoff.fail(self._jitter(), problem.retry_after_s)
                log.info("no connection", extra={"action": "no_way", "reason": problem.reason, "wait_s": wait_s})
            if self._clock.monotonic() + wait_s - since > self._patience_s:
                self.perform(self._session.abandon(Unreachable(self.problem)))
                await self._wait_for_work()
                since = self._clock.monotonic()
            else:
                await self._clock.sleep(wait_s)

    async def _serve(self, link: Link) -> tuple[int, Link | None]:
        """Use the link until it ends. Returns its close code, and the next link if the gateway moved this client."""
        self._link = link
        self.perform(self._session.opened(int(self._clock.wall() * 1000)))
        self._pump = asyncio.create_task(self._receive_on(link))
        try:
            await asyncio.wait({self._pump})
            moved_to = await self._mover if self._mover is not None else None
        finally:
            await _cancel(self._pump)
        self._mover = None
        self._leaving.append(link)
        if moved_to is None:
            self._link = None
            self._session.lost()
            self._leave_others()
            return self._pump.result(), None
        return 0, moved_to

    async def _receive_on(self, link: Link) -> int:
        while True:
            received = await link.receive()
            if isinstance(received, int):
                return received
            self.perform(self._session.received(received))

    async def _rest(self, code: int, lasted_s: float) -> None:
        """Wait for as long as the close code demands. Raises Closed."""
        way = comeback(code)
        log.info("connection closed", extra={"action": "link_over", "code": code, "comeback": way.value})
        if way is Comeback.NEVER:
            self._change_or_give_up(code)
        if way is Comeback.WHEN_NEEDED and not self._session.unfinished():
            await self._wait_for_work()
            return
        if lasted_s >= STEADY_S:
            self._backoff.succeed()
        at_once = way is not Comeback.PAUSE and self._backoff.failures == 0
        wait_s = self._backoff.fail(self._jitter())
        if not at_once:
            await self._clock.sleep(wait_s)

    def _change_or_give_up(self, code: int) -> None:
        """Forget the session if the gateway refused it, so that the client can reconnect; else raise Closed."""
        if code == BAD_SESSION.number and self._session.token is not None:
            log.warning("session refused", extra={"action": "session_refused"})
            self._session.forget_token()
            return
        reasons = {close.number: close.reason for close in ALL_CLOSES}
        raise Closed(reasons.get(code, "unknown reason"), code)

    async def _wait_for_work(self) -> None:
        self._wanted.clear()
        self.want()
        await self._wanted.wait()

    # --- moves and small tasks ------------------------------------------------------------------------

    def _start_move(self, move: Moved) -> None:
        is_moving = self._mover is not None and not self._mover.done()
        if not is_moving and self._pump is not None:
            self._mover = asyncio.create_task(self._move(move, self._pump))

    async def _move(self, move: Moved, pump: asyncio.Task[int]) -> Link | None:
        """Open the next link, then stop reading the current one. If that fails, stay until the gateway closes it."""
        waiting = asyncio.ensure_future(self._clock.sleep(move.after_s))
        await asyncio.wait({waiting, pump}, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(waiting)
        try:
            link = await self._route.connect(Choice(move.url, move.ticket))
        except NoGateway as problem:
            log.info("move failed", extra={"action": "move_failed", "reason": problem.reason})
            return None
        pump.cancel()
        return link

    async def _retry(self, postponed: Postponed) -> None:
        await self._clock.sleep(postponed.after_s * (0.5 + self._jitter()))
        self.perform(self._session.retry(postponed.request))

    def _cut(self) -> None:
        if self._link is not None:
            self._spawn(self._link.close())

    def _leave_others(self) -> None:
        """Close the links that are no longer used."""
        for link in self._leaving:
            self._spawn(link.close())
        self._leaving.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _cancel(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
