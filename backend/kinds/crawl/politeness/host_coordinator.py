"""What workers agree on about a host through the shared cache: turns for crawl-delay, and each worker's share of its
slots.

*Turns*, for hosts with a crawl-delay: a register in the cache that lives as long as the delay. A worker that finds it
empty writes its name, waits until every other worker that has also found it empty must have written (`SETTLE_S`), and
has the turn if its name is still there. A worker that needs longer than that to write gives up the turn. (Fischer's
mutual exclusion.) A turn is for a request that begins at once: a worker that was suspended, or waited for the cache
after it got the turn, gives it up.

*Slots*, for the limit of concurrent requests to a host: `host_lease.Lease` decides, and this module executes its swaps.
The same value holds the pause that a host asked for (`host_board.HostPause`); other workers learn of it when they renew
their leases.

When the cache is unreachable or loses data (a value that was just stored is missing), discovery's list of workers
replaces it (`WorkerRing`): a host with a crawl-delay belongs to one worker, and each worker takes its part of the slots
(P32). Without discovery every worker enforces both limits on its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import blake2b
from itertools import count

from msgspec import Struct

from roost.backend.cache.port import Cache
from roost.backend.kinds.crawl.politeness.host_lease import Answer, Contact, Lease, Use
from roost.backend.kinds.crawl.politeness.worker_ring import WorkerRing
from roost.wire.clock import Clock
from roost.wire.codec import Unpacker, pack
from roost.wire.errors import DecodeError

_rng = random.SystemRandom()

SETTLE_S = 0.1
"""A hundred times what a healthy cache needs."""
AGAIN_S = 0.05
TRIES = 5
"""Swaps tried for one renewal. A worker that loses all of them keeps what it has and tries again a little later."""


class Turn(Struct, array_like=True, frozen=True):
    """Which worker has the turn, until about when (wall-clock seconds); `mark` tells two turns of one worker apart."""

    until: float
    name: bytes
    mark: float


_read_turn: Unpacker[Turn] = Unpacker(Turn, "turn")


class HostCoordinator:
    """Agreement between workers, by host. `name` identifies this worker; `ring` is used while the cache is
    unreachable.
    """

    def __init__(self, cache: Cache, clock: Clock, name: bytes, ring: WorkerRing | None = None) -> None:
        self._cache, self._clock, self._name = cache, clock, name
        self._ring = ring or WorkerRing(name.hex(), tuple)
        self._contact = Contact()
        self._stamps = count()

    async def take(self, host: str, delay_s: float) -> float:
        """Return 0 when it is our turn, and nobody else's for `delay_s`; otherwise how many seconds to wait at
        least.
        """
        key, began = _key(b"turn", host), self._clock.monotonic()
        until = self._clock.wall() + delay_s
        mine = pack(Turn(until + SETTLE_S, self._name, _rng.random()))
        taken = await self._cache.get(key)
        if taken is not None:
            return min(max(AGAIN_S, _until(taken) - until + delay_s), delay_s + SETTLE_S)
        await self._cache.put(key, mine, delay_s + 2 * SETTLE_S)
        if self._clock.monotonic() - began > SETTLE_S:
            return SETTLE_S
        await self._clock.sleep(SETTLE_S)
        found = await self._cache.get(key)
        if found != mine and (found is not None or not self._ring.owns(host)):
            return delay_s
        sent = self._clock.monotonic()
        if found is None and sent - began > delay_s + SETTLE_S:
            return AGAIN_S  # it may have expired while this worker was suspended, and been another worker's since
        await self._cache.put(key, mine, delay_s)  # from now, when the request is made
        return 0.0 if self._clock.monotonic() - sent <= SETTLE_S else delay_s

    def lease(self, whole: int) -> Lease:
        """Return a new lease, without any slots yet, for a host with `whole` slots."""
        return Lease(self._name, whole, self._stamps)

    async def renew(self, host: str, lease: Lease, use: Callable[[], tuple[int, int]]) -> None:
        """Claim slots of the host. `use` returns how many requests are in flight, and how many are wanted."""
        key = _key(b"board", host)
        for _ in range(TRIES):
            now = self._clock.monotonic()
            part, is_settling = self._ring.part(host, lease.whole), self._contact.is_settling(now)
            swap = lease.propose(Use(*use(), part, is_settling), now, self._clock.wall())
            found = await self._cache.swap(key, swap.old, swap.new, swap.ttl_s)
            now = self._clock.monotonic()
            if found is not None:
                self._contact.answered(now)
            answer = lease.answered(found, now)
            if answer is Answer.NONE:
                self._contact.unanswered(now)
                lease.unanswered(part, self._contact.is_sure(now), now)
            if answer is not Answer.AGAIN:
                return


def _until(turn: bytes) -> float:
    try:
        return _read_turn(turn).until
    except DecodeError:
        return 0.0


def _key(what: bytes, host: str) -> bytes:
    return b"host1" + what + blake2b(host.encode(), digest_size=20).digest()
