"""The HTTP interface of a lock server: msgpack bodies, and a route for each call that must not wait for others.

``POST /v1/decide`` list of Decision -> list of Answer · ``/v1/beat`` list of LeaseRenewal -> list of LeaseAnswer
· ``/v1/part`` PutPart -> Verdict · ``/v1/parts`` ReadParts -> list of blobs · ``/v1/sweep`` GatewayPoll ->
FinishedRequests.
Errors: 400 body cannot be decoded, 401 missing or wrong secret, 503 store unavailable (with Retry-After).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from roost.backend.lock.batch_failpoints import have_committed, have_received
from roost.backend.lock.group_commit import Batcher, rows
from roost.backend.store.port import Store
from roost.wire.auth import InternalSecret
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.codec import pack
from roost.wire.errors import DecodeError, Unavailable
from roost.wire.failpoints import Point, reach
from roost.wire.messages import lock as messages
from roost.wire.messages.lock import (
    Acquire,
    Acquired,
    Answer,
    Decision,
    GatewayPoll,
    LeaseAnswer,
    LeaseRenewal,
    PutPart,
    ReadParts,
)
from roost.wire.service import add_admin_routes, serve

log = logging.getLogger(__name__)

TICK_S = 1.0
MAX_WAITING = 100_000
"""While this many jobs wait, offers stay at the broker, whose queue is bounded too (P6)."""
MAX_BODY_BYTES = 32 * 1024 * 1024
"""Many times the size of a batch of 200 offers with large specifications, or of one part."""


class LockServer:
    """A `Service` that answers masters and gateways from the store, and calls the store's `tick` once a second."""

    def __init__(
        self,
        store: Store,
        secret: InternalSecret,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock = SYSTEM_CLOCK,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._store, self._secret, self._clock = store, secret, clock
        self._max_waiting, self._is_full = max_waiting, False
        self._host, self._port = host, port
        self._decisions: Batcher[Decision, Answer] = Batcher(self._decide, rows)
        self._renewals: Batcher[LeaseRenewal, LeaseAnswer] = Batcher(store.beat)
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None
        self.decided_count = 0

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._port

    async def start(self) -> None:
        await self._store.start()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        add_admin_routes(app, lambda: self._ticker is not None)
        for path, action in (
            ("/v1/decide", self._on_decide),
            ("/v1/beat", self._on_beat),
            ("/v1/part", self._on_part),
            ("/v1/parts", self._on_parts),
            ("/v1/sweep", self._on_sweep),
        ):
            app.router.add_post(path, self._route(action))
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=False)
        self._port = await serve(self._runner, self._host, self._port)
        self._ticker = asyncio.create_task(self._tick())

    async def drain(self) -> None:
        """Do nothing: every answer that was sent is durable."""

    async def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
            self._ticker = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._store.stop()

    def _route(self, action: Callable[[bytes], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            if not self._secret.admits(request.headers):
                return web.Response(status=401, text="internal: the shared secret is missing or wrong\n")
            try:
                return web.Response(body=pack(await action(await request.read())))
            except DecodeError as problem:
                return web.Response(status=400, text=problem.message)
            except Unavailable as problem:
                return web.Response(status=503, text=problem.reason, headers={"Retry-After": "1"})

        return handle

    async def _on_decide(self, body: bytes) -> list[Answer]:
        return await self._decisions.ask(messages.read_decisions(body))

    async def _decide(self, decisions: list[Decision]) -> list[Answer]:
        held = [self._is_full and isinstance(decision, Acquire) and bool(decision.offers) for decision in decisions]
        asked = [replace(each, offers=[]) if is_held else each for each, is_held in zip(decisions, held, strict=True)]
        have_received(asked)
        answers = await self._store.decide(asked)
        have_committed(asked, answers)
        self.decided_count += len(answers)
        return [_full(each) if is_held else each for each, is_held in zip(answers, held, strict=True)]

    async def _on_beat(self, body: bytes) -> list[LeaseAnswer]:
        renewals = messages.read_lease_renewals(body)
        reach(Point.BEAT_RECEIVED)
        answers = await self._renewals.ask(renewals)
        reach(Point.BEAT_COMMITTED)
        return answers

    async def _on_part(self, body: bytes) -> str:
        part: PutPart = messages.read_put_part(body)
        reach(Point.PART_RECEIVED)
        verdict = await self._store.put_part(part)
        reach(Point.PART_COMMITTED)
        return verdict

    async def _on_parts(self, body: bytes) -> list[bytes]:
        wanted: ReadParts = messages.read_read_parts(body)
        reach(Point.READ_RECEIVED)
        parts = await self._store.read_parts(wanted)
        reach(Point.READ_ANSWERED)
        return parts

    async def _on_sweep(self, body: bytes) -> messages.FinishedRequests:
        poll: GatewayPoll = messages.read_gateway_poll(body)
        reach(Point.SWEEP_RECEIVED)
        finished = await self._store.sweep(poll)
        reach(Point.SWEEP_COMMITTED)
        return finished

    async def _tick(self) -> None:
        is_unavailable = False
        while True:
            try:
                await self._store.tick()
                self._check_waiting(await self._store.waiting_count(self._max_waiting))
                is_unavailable = False
            except Unavailable as problem:
                if not is_unavailable:
                    log.warning("store unavailable", extra={"action": "store_away", "reason": problem.reason})
                is_unavailable = True
            except Exception:  # without ticks no job would ever expire
                log.exception("tick failed", extra={"action": "tick_failed"})
            await self._clock.sleep(TICK_S)

    def _check_waiting(self, waiting_count: int) -> None:
        """Check whether too many jobs wait. Once per tick, so at most one second of offers is in excess."""
        is_full = waiting_count >= self._max_waiting
        if is_full != self._is_full:
            what = "no new jobs are stored: too many wait" if is_full else "new jobs are stored again"
            log.warning(what, extra={"action": "jobs_full" if is_full else "jobs_not_full"})
        self._is_full = is_full


def _full(answer: Answer) -> Answer:
    return replace(answer, is_full=True) if isinstance(answer, Acquired) else answer
