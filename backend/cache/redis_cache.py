"""The cache in Redis. It decides no outcome (I5), so an outage is logged once and otherwise looks like misses.

- **Outages.** A command that gets no answer opens a circuit breaker: for `PAUSE_S` every call is a miss at once, then
  one call tests whether Redis is back. Callers wait at most `ANSWER_S`, and only one at a time, for an unavailable
  Redis.
- **Wrong answers.** On a connection on which a command was abandoned, its answer may be taken for that of the next
  command. So commands are never cancelled with their caller, and each value is stored with its key as a prefix: a value
  that does not begin with the requested key is a miss.
- **Lost writes.** After a failed write, the value in Redis may be older than the one that was put. The key is therefore
  a miss in this process until it is written again.
- **Swaps** are one script, which Redis runs atomically (`SWAP`). It returns the value of the key afterwards, with its
  prefix, so that a wrong answer is recognised here too. A lost swap does not mark the key as lost: the next one
  compares anyway.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from redis.exceptions import RedisError, ResponseError

from roost.backend.cache.redis_client import Client
from roost.wire.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

ANSWER_S = 0.5
"""Timeout of a command: a thousand times what a healthy Redis needs; callers can do without the cache."""
PAUSE_S = 1.0
CONNECTIONS = 8
KEYS_AT_ONCE = 200
VALUE_BYTES = 8 * 1024 * 1024
"""A larger value is not stored: it would delay all other commands. The embedded cache has the same limit."""
TTL_MAX_S = 365 * 24 * 3600.0
LOST_KEYS = 10_000
LOG_REFUSAL_EVERY_S = 60.0
PREFIX = b"roost:"
KEY_LENGTH = struct.Struct("!I")
SWAP = """
local found = redis.call('GET', KEYS[1])
if found == (ARGV[1] ~= '' and ARGV[1]) then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return ARGV[2]
end
return found
"""
"""GET returns `false` for a missing key. The empty string stands for it in ARGV, because no stored value is empty."""
OUTAGES = (RedisError, OSError, TimeoutError)
Command = Callable[[], Awaitable[Any]]


class RedisCache:
    """The `Cache` of one service. `url` names a server or sentinels (`roost.backend.cache.redis_client`).

    Raises Misuse for an invalid URL.
    """

    def __init__(self, url: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = Client(url, ANSWER_S)
        self._redis = self._client.redis
        self._clock = clock
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._commands: set[asyncio.Future[Any]] = set()
        self._lost: OrderedDict[bytes, None] = OrderedDict()
        self._is_started = self._is_unavailable = False
        self._try_at = self._log_refusal_at = 0.0

    async def start(self) -> None:
        self._is_started = True
        await self._ask(self._redis.ping)

    async def get(self, key: bytes) -> bytes | None:
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for first in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[first : first + KEYS_AT_ONCE]
            answer = await self._ask(partial(self._redis.mget, [PREFIX + key for key in some]))
            values = answer if answer is not None and len(answer) == len(some) else [None] * len(some)
            found += [self._open(key, value) for key, value in zip(some, values, strict=True)]
        return found

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        ttl_ms = _ttl_ms(ttl_s)
        if ttl_ms and len(value) <= VALUE_BYTES:
            await self._write(key, partial(self._redis.set, PREFIX + key, _label(key) + value, px=ttl_ms))
        else:
            await self.drop(key)

    async def swap(self, key: bytes, old: bytes | None, new: bytes, ttl_s: float) -> bytes | None:
        label, ttl_ms = _label(key), _ttl_ms(ttl_s)
        if not ttl_ms or len(new) > VALUE_BYTES:
            return None
        compared = b"" if old is None else label + old
        command = partial(self._redis.eval, SWAP, 1, PREFIX + key, compared, label + new, ttl_ms)
        found = await self._ask(command)
        if found == label + new:
            self._lost.pop(key, None)
        return self._open(key, found)

    async def drop(self, key: bytes) -> None:
        await self._write(key, partial(self._redis.delete, PREFIX + key))

    async def stop(self) -> None:
        self._is_started = False
        await asyncio.gather(*self._commands, return_exceptions=True)  # each ends within its own timeout
        with suppress(*OUTAGES):
            await self._client.close()

    async def _write(self, key: bytes, command: Command) -> None:
        if await self._ask(command) is not None:
            self._lost.pop(key, None)
            return
        self._lost[key] = None
        if len(self._lost) > LOST_KEYS:
            self._lost.popitem(last=False)

    def _open(self, key: bytes, kept: bytes | None) -> bytes | None:
        """Return the value, if its prefix is this key and no newer write was lost."""
        label = _label(key)
        if kept is None or key in self._lost or not kept.startswith(label):
            return None
        return kept[len(label) :]

    async def _ask(self, command: Command) -> Any:
        """Return the answer, or None when there is none. The command continues when the caller is cancelled."""
        if not self._may_ask():
            return None
        task = asyncio.ensure_future(self._in_turn(command))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        return await asyncio.shield(task)

    async def _in_turn(self, command: Command) -> Any:
        was_unavailable = self._is_unavailable
        async with self._connections:
            if self._is_unavailable and not was_unavailable:
                return None  # the outage began while this command waited
            try:
                answer = await command()
            except ResponseError as problem:
                self._log_refusal(problem)
                return None
            except OUTAGES as problem:
                self._set_unavailable(unavailable=True, reason=str(problem))
                return None
            self._set_unavailable(unavailable=False)
            return answer

    def _may_ask(self) -> bool:
        """Return whether to send a command: during an outage, one command in `PAUSE_S` is sent."""
        if not self._is_started or not self._is_unavailable:
            return self._is_started
        now = self._clock.monotonic()
        if now < self._try_at:
            return False
        self._try_at = now + PAUSE_S
        return True

    def _set_unavailable(self, unavailable: bool, reason: str = "") -> None:
        if unavailable and not self._is_unavailable:
            self._try_at = self._clock.monotonic() + PAUSE_S
            log.warning("cache unavailable, continuing without it", extra={"action": "cache_away", "reason": reason})
        elif self._is_unavailable and not unavailable:
            log.warning("cache available again", extra={"action": "cache_back"})
        self._is_unavailable = unavailable

    def _log_refusal(self, problem: ResponseError) -> None:
        """Log, at most once a minute, that Redis refused a command, for example for lack of memory."""
        now = self._clock.monotonic()
        if now >= self._log_refusal_at:
            self._log_refusal_at = now + LOG_REFUSAL_EVERY_S
            log.warning("cache refused a command", extra={"action": "cache_refuses", "reason": str(problem)})


def _ttl_ms(ttl_s: float) -> int:
    """Return the TTL in milliseconds; 0 means that the value is not stored."""
    return int(min(ttl_s, TTL_MAX_S) * 1000) if ttl_s > 0 else 0


def _label(key: bytes) -> bytes:
    """Return the prefix with which each value of this key is stored."""
    return KEY_LENGTH.pack(len(key)) + key
