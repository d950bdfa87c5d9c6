"""When a request to a host may begin: a limit of concurrent requests, the host's crawl-delay, and its Retry-After
pauses.

A task that must not run yet is returned to the master (`RetryLater`, P20). It waits in the worker for a quarter of a
second at most, because other requests are about to end, and longer while it follows redirects: a task that was returned
then would start again at its first URL.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from roost.backend.kinds.api import RetryLater
from roost.backend.kinds.crawl.fetch.fetcher import NotFetched
from roost.backend.kinds.crawl.politeness.host_board import HostPause, later
from roost.backend.kinds.crawl.politeness.host_coordinator import HostCoordinator
from roost.backend.kinds.crawl.politeness.host_state import Host
from roost.backend.kinds.crawl.politeness.pace import (
    MOST_WAIT_S,
    TIMEOUT_TRIES,
    TRIES,
    Tries,
    backoff_s,
    is_passing,
    retry_after_s,
)
from roost.backend.kinds.crawl.reasons import Failed
from roost.backend.kinds.crawl.urls import host as host_of
from roost.wire.clock import Clock

log = logging.getLogger(__name__)
_rng = random.SystemRandom()

PATIENCE_S = 0.25
LOOK_S = 0.1
"""How often a request that waits in a worker without a slot checks whether other workers have released one."""
HOP_WAIT_S = 10.0
TICK_S = 0.25
"""How often a worker checks whether leases must be renewed."""
MOST_HOSTS = 10_000


class HostLimits:
    """The limits of all hosts, in one worker. `at_once` is the limit for each host, over all workers together."""

    def __init__(self, coordinator: HostCoordinator, clock: Clock, at_once: int) -> None:
        self._turns, self._clock, self._at_once = coordinator, clock, at_once
        self._hosts: OrderedDict[str, Host] = OrderedDict()
        self._active: dict[str, Host] = {}
        self._renewer: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._tries = Tries()

    @asynccontextmanager
    async def visit(self, url: str, number: int, delay_s: float = 0.0, last_at: float = 0.0) -> AsyncIterator[None]:
        """Context manager around request number `number` of a page (0: the first), `delay_s` after the host's last
        request.

        `last_at`: when robots.txt was requested, in wall-clock seconds; the delay counts from there too.

        Raises RetryLater when the request must not be made yet, or was cut off because the lease of its slot ended;
        NotFetched when its host pauses for long. A request after a redirect waits longer than the first one before
        RetryLater is raised.
        """
        host = self._host(host_of(url))
        await self._enter(host, HOP_WAIT_S if number else PATIENCE_S)
        try:
            async with _covered(host, self._clock):
                await self._wait(host, url, number, delay_s, last_at)
                began = self._clock.monotonic()
                if began >= host.lease.until:
                    raise _again()  # this process was suspended, and others may have the slot
                yield
                now = self._clock.monotonic()
                host.window.answered(now - began, now)
        finally:
            host.leave()
            if host.is_spare() and not self._is_stopping:
                host.want_nothing()
                self._begin_renewal(host)

    async def again_in(self, start: str, problem: NotFetched) -> float | None:
        """Return in how many seconds to retry the page at `start`, which has failed; None when it has failed for
        good.
        """
        if not is_passing(problem.reason, problem.status):
            self._tries.over(start)
            return None
        now, host = self._clock.monotonic(), self._host(host_of(problem.url))
        host.window.troubled(1.0, now)
        pause_s = retry_after_s(problem.retry_after, self._clock.wall())
        if pause_s:
            await self._pause(host, min(pause_s, 2 * MOST_WAIT_S), problem)
        most_tries = TIMEOUT_TRIES if problem.reason == Failed.TIMEOUT else TRIES
        if self._tries.failed(start) >= most_tries or pause_s > MOST_WAIT_S:
            self._tries.over(start)
            return None
        return max(pause_s, backoff_s(self._tries.count(start), _rng.random()))

    def answered(self, start: str) -> None:
        """Note that the page at `start` was fetched."""
        self._tries.over(start)

    async def stop(self) -> None:
        """Release all slots that no request uses; fine to call twice."""
        self._is_stopping = True
        if self._renewer is not None:
            self._renewer.cancel()
            await asyncio.wait({self._renewer})
        leaving, self._active = list(self._active.values()), {}
        for host in leaving:
            host.want_nothing()
        await asyncio.gather(*(self._renew_anew(host) for host in leaving))

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            # never two leases for one host, even after it was removed from _hosts
            host = self._active.get(name) or Host(name, self._turns.lease(self._at_once), self._clock)
            self._hosts[name] = host
            self._forget_idle()
        self._hosts.move_to_end(name)
        return host

    def _forget_idle(self) -> None:
        while len(self._hosts) > MOST_HOSTS:
            name, host = next(iter(self._hosts.items()))
            if not host.is_idle(self._clock.monotonic()):
                return
            del self._hosts[name]

    async def _renew(self, host: Host) -> None:
        """Renew the host's lease; the renewal continues when the caller is cancelled."""
        await asyncio.shield(self._begin_renewal(host))

    def _begin_renewal(self, host: Host) -> asyncio.Task[None]:
        """Return the renewal in progress, or start one; there is one at a time."""
        if host.renewal is None:
            if not self._is_stopping:
                self._active[host.name] = host
                self._renewer = self._renewer or asyncio.create_task(self._keep_renewing())
            host.renewal = asyncio.create_task(self._renew_alone(host))
        return host.renewal

    async def _renew_anew(self, host: Host) -> None:
        """Renew by the current state: a renewal in progress may have begun before it changed."""
        if host.renewal is not None:
            await asyncio.shield(host.renewal)
        await self._renew(host)

    async def _renew_alone(self, host: Host) -> None:
        try:
            await self._turns.renew(host.name, host.lease, host.use)
        finally:
            host.renewal = None
        self._apply_pause(host)
        host.renewed()

    async def _keep_renewing(self) -> None:
        """Renew leases until the last one is over."""
        try:
            while self._active:
                await self._clock.sleep(TICK_S)
                now = self._clock.monotonic()
                due = [host for host in self._active.values() if host.lease.is_due(now) or host.wants_more()]
                for problem in await asyncio.gather(*map(self._renew, due), return_exceptions=True):
                    if isinstance(problem, Exception):
                        log.error("lease not renewed", exc_info=problem, extra={"action": "lease_not_renewed"})
                self._active = {name: host for name, host in self._active.items() if host.is_active()}
        finally:
            self._renewer = None

    def _apply_pause(self, host: Host) -> None:
        """Apply the host's pause, whichever worker recorded it."""
        pause = host.lease.hold
        if pause is not None:
            pause_s = min(pause.until - self._clock.wall(), 2 * MOST_WAIT_S)
            host.paused_until = max(host.paused_until, self._clock.monotonic() + pause_s)
            host.paused_for = (pause.reason, pause.status)

    async def _pause(self, host: Host, pause_s: float, problem: NotFetched) -> None:
        host.lease.hold = later(
            host.lease.hold, HostPause(self._clock.wall() + pause_s, problem.reason, problem.status)
        )
        self._apply_pause(host)
        await self._renew_anew(host)

    async def _wait(self, host: Host, url: str, number: int, delay_s: float, last_at: float) -> None:
        """Return when the request may begin. Raises RetryLater, NotFetched."""
        waited_s = 0.0
        while (wait_s := await self._wait_s(host, delay_s, last_at, url)) and waited_s < HOP_WAIT_S:
            if not number:
                raise RetryLater(wait_s * (1 + _rng.random() / 4))
            await self._clock.sleep(min(wait_s, HOP_WAIT_S))
            waited_s += wait_s

    async def _wait_s(self, host: Host, delay_s: float, last_at: float, url: str) -> float:
        """Return how many seconds the request must wait; 0 when it may begin now."""
        now = self._clock.monotonic()
        if host.paused_until - now > MOST_WAIT_S:
            raise NotFetched(host.paused_for[0], url, host.paused_for[1])
        if host.paused_until > now:
            return host.paused_until - now
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

    async def _enter(self, host: Host, patience_s: float) -> None:
        """Take a slot; the caller must call `host.leave` later. Raises RetryLater when none is free for so long."""
        slot = host.come()
        try:
            for _ in range(2):  # a renewal in progress may not include this request yet
                if not slot.done() and (self._clock.monotonic() >= host.lease.until or host.wants_more()):
                    await self._renew(host)
            time = asyncio.get_running_loop().time
            ends_at = time() + patience_s
            while not slot.done() and (left_s := ends_at - time()) > 0:
                await asyncio.wait({slot}, timeout=min(left_s, LOOK_S))
                if not slot.done() and not host.lease.limit:
                    await self._renew(host)
        except BaseException:
            host.give_up(slot)
            raise
        if not slot.done():
            host.give_up(slot)
            raise _again()


@asynccontextmanager
async def _covered(host: Host, clock: Clock) -> AsyncIterator[None]:
    """Run a request that is cut off when the lease under which it began ends. Raises RetryLater."""
    try:
        async with asyncio.timeout(host.lease.until - clock.monotonic()) as cover:
            host.begin(cover)
            try:
                yield
            finally:
                host.end(cover)
    except TimeoutError:
        if not cover.expired():
            raise
        raise _again() from None


def _again() -> RetryLater:
    """Retry soon, with jitter so that tasks do not come back all at once."""
    return RetryLater(PATIENCE_S * (1 + _rng.random()))
