"""What workers agree on about a host, through the shared cache: whose turn it is, and how many of them there are.

The cache can only get and put, so both are made from registers.

*Turns*, for hosts that ask for a delay between requests: a register that lives as long as the delay. Who finds it empty
writes its name, waits until everybody who has also found it empty must have written (`SETTLE_S`), and has the turn if
the name is still there. Whoever needs longer than that to write gives way. (Fischer's mutual exclusion.)

*Shares*, of the requests that a host gets at a time: each worker that asks a host puts its name on a board, and takes
its part of the whole by the number of names there.

When the cache is away or forgets (what was just put is not there), discovery's list of workers stands in for it
(`Company`): a host that asks for a delay is one worker's alone, and of the number each takes its part (P32). Without
discovery every worker keeps both by itself.
"""

from __future__ import annotations

import random
from hashlib import blake2b

from msgspec import Struct

from backend.cache.port import Cache
from backend.kinds.crawl.company import Company
from wire.clock import Clock
from wire.codec import Unpacker, pack
from wire.errors import DecodeError

_luck = random.SystemRandom()

SETTLE_S = 0.1
"""A hundred times what a healthy cache needs."""
AGAIN_S = 0.05
BOARD = 32
"""Names on a board. More workers than that on one host ask less than they could, or briefly more."""
NAME_S = 6.0
"""A name stays so long after its worker last asked the host."""


class Hold(Struct, array_like=True, frozen=True):
    """A host wants to be left alone until `until` (wall seconds); it said so by `reason` and `status`."""

    until: float
    reason: str
    status: int


class Turn(Struct, array_like=True, frozen=True):
    """Whose turn it is, until about when (wall seconds); `mark` tells two turns of a worker apart."""

    until: float
    name: bytes
    mark: float


_read_turn: Unpacker[Turn] = Unpacker(Turn, "turn")
_read_hold: Unpacker[Hold] = Unpacker(Hold, "hold of a host")


class Turns:
    """Agreement by host. `name` is this worker's own; `company` are all workers, for when the cache is away."""

    def __init__(self, cache: Cache, clock: Clock, name: bytes, company: Company | None = None) -> None:
        self._cache, self._clock, self._name = cache, clock, name
        self._company = company or Company(name.hex(), tuple)
        self._place = _luck.randrange(BOARD)

    async def take(self, host: str, delay_s: float) -> float:
        """0: it is our turn, and nobody else's for `delay_s`; otherwise how long to wait at least."""
        key, began = _key(b"turn", host), self._clock.monotonic()
        until = self._clock.wall() + delay_s
        mine = pack(Turn(until + SETTLE_S, self._name, _luck.random()))
        taken = await self._cache.get(key)
        if taken is not None:
            return min(max(AGAIN_S, _until(taken) - until + delay_s), delay_s + SETTLE_S)
        await self._cache.put(key, mine, delay_s + SETTLE_S)
        if self._clock.monotonic() - began > SETTLE_S:
            return SETTLE_S
        await self._clock.sleep(SETTLE_S)
        found = await self._cache.get(key)
        if found != mine and (found is not None or not self._company.owns(host)):
            return delay_s
        await self._cache.put(key, mine, delay_s)  # from now, when the request is made
        return 0.0

    async def share(self, host: str, whole: int) -> tuple[int, Hold | None]:
        """Our part of the `whole` requests that the host gets at a time, and whether it wants none."""
        keys = [_key(b"name%d" % place, host) for place in range(BOARD)]
        await self._cache.put(keys[self._place], self._name, NAME_S)
        *names, held = await self._cache.get_many([*keys, _key(b"hold", host)])
        if names[self._place] is None:
            return self._company.part(host, whole), self._hold(held)
        if names[self._place] != self._name:
            self._place = _luck.randrange(BOARD)  # two workers on one place
        there = sorted({name for name in names if name} | {self._name})
        rank, rest = there.index(self._name), whole % len(there)
        return whole // len(there) + (rank < rest), self._hold(held)

    async def hold(self, host: str, hold: Hold) -> None:
        """Tell the others that the host wants to be left alone."""
        await self._cache.put(_key(b"hold", host), pack(hold), hold.until - self._clock.wall())

    def _hold(self, data: bytes | None) -> Hold | None:
        try:
            return _read_hold(data) if data is not None else None
        except DecodeError:
            return None


def _until(turn: bytes) -> float:
    try:
        return _read_turn(turn).until
    except DecodeError:
        return 0.0


def _key(what: bytes, host: str) -> bytes:
    return b"host1" + what + blake2b(host.encode(), digest_size=20).digest()
