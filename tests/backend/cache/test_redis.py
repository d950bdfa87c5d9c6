"""What only a real Redis can do to us: go away, come back, freeze, refuse, answer somebody else's question."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from bench.support import services
from bench.support.waiting import until
from roost.backend.cache.redis_cache import PAUSE_S, PREFIX, VALUE_BYTES, RedisCache
from tests.backend.cache.contract_cache import LONG_S, key
from tests.clock import ManualClock

pytestmark = pytest.mark.engines


@pytest.fixture
def server() -> Iterator[services.Redis]:
    server = services.redis()
    yield server
    if not server.is_running():  # a test failed half-way: the next ones need it
        server.start()


@pytest.fixture
async def cache(server: services.Redis) -> AsyncIterator[RedisCache]:
    cache = RedisCache(server.url)
    await cache.start()
    yield cache
    await cache.stop()


@pytest.fixture
async def direct(server: services.Redis) -> AsyncIterator[Redis]:
    """Redis itself, past the cache."""
    direct: Redis = Redis.from_url(server.url)
    yield direct
    await direct.aclose()


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["action"] for record in caplog.records if "action" in record.__dict__]


async def test_i5_away_is_said_once_and_back_once_and_meanwhile_everything_is_a_miss(
    server: services.Redis, cache: RedisCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    name = key("value")
    await cache.put(name, b"before", LONG_S)
    await asyncio.to_thread(server.kill)
    for _ in range(100):
        assert await cache.get(name) is None
        await cache.put(name, b"lost", LONG_S)
        await cache.drop(key("other"))
    assert actions(caplog) == ["cache_away"]
    await asyncio.to_thread(server.start)

    async def is_kept() -> bool:
        await cache.put(name, b"after", LONG_S)
        return await cache.get(name) == b"after"

    await until(is_kept)
    assert actions(caplog) == ["cache_away", "cache_back"]


async def test_a_redis_that_never_answers_is_asked_once_in_a_while_and_not_by_every_call() -> None:
    asked = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    clock = ManualClock()
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        cache = RedisCache(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0", clock)
        await cache.start()
        for _ in range(1000):
            assert await cache.get(b"key") is None
        assert asked == 1
        await clock.advance(PAUSE_S)
        assert await asyncio.gather(*(cache.get(b"key") for _ in range(100))) == [None] * 100
        assert asked == 2
        await cache.stop()


async def test_a_write_that_was_lost_does_not_leave_the_value_before_it(
    server: services.Redis, cache: RedisCache, direct: Redis
) -> None:
    replaced, dropped = key("replaced"), key("dropped")
    await cache.put(replaced, b"old", LONG_S)
    await cache.put(dropped, b"old", LONG_S)
    server.freeze()
    try:
        await cache.put(key("other"), b"finds out that it is away", LONG_S)
        await cache.put(replaced, b"new", LONG_S)
        await cache.drop(dropped)
    finally:
        server.thaw()
    mark = key("mark")

    async def is_back() -> bool:
        await cache.put(mark, b"back", LONG_S)
        return await cache.get(mark) == b"back"

    await until(is_back)
    assert await direct.exists(PREFIX + replaced, PREFIX + dropped) == 2, "Redis itself still has them"
    assert await cache.get_many([replaced, dropped]) == [None, None]
    await cache.put(replaced, b"newer", LONG_S)
    assert await cache.get(replaced) == b"newer"


async def test_an_answer_to_somebody_elses_question_is_a_miss(cache: RedisCache, direct: Redis) -> None:
    mine, other = key("mine"), key("other")
    await cache.put(other, b"not mine", LONG_S)
    kept = await direct.get(PREFIX + other)
    assert kept is not None
    for wrong in (kept, b"", b"\x00", kept[:10]):
        await direct.set(PREFIX + mine, wrong)
        assert await cache.get(mine) is None


async def test_callers_that_are_cancelled_leave_no_answer_for_others(cache: RedisCache) -> None:
    names = [key(str(number)) for number in range(100)]
    await asyncio.gather(*(cache.put(name, name[::-1], LONG_S) for name in names))
    for cancelled_after in range(5):
        asking = [asyncio.ensure_future(cache.get(name)) for name in names]
        for _ in range(cancelled_after):
            await asyncio.sleep(0)
        for task in asking[::2]:
            task.cancel()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert answers[1::2] == [name[::-1] for name in names[1::2]]
    assert await cache.get_many(names) == [name[::-1] for name in names]


async def test_more_keys_than_go_into_one_question_are_answered_in_order(cache: RedisCache) -> None:
    names = [key(str(number)) for number in range(450)]
    await asyncio.gather(*(cache.put(name, name, LONG_S) for name in names[::3]))
    assert await cache.get_many(names) == [name if place % 3 == 0 else None for place, name in enumerate(names)]


async def test_a_value_too_big_to_keep_still_replaces_the_one_before(cache: RedisCache) -> None:
    name = key("value")
    await cache.put(name, b"old", LONG_S)
    await cache.put(name, bytes(VALUE_BYTES + 1), LONG_S)
    assert await cache.get(name) is None
    await cache.put(name, bytes(VALUE_BYTES), LONG_S)
    assert await cache.get(name) == bytes(VALUE_BYTES)


async def test_an_endless_time_is_a_long_one(cache: RedisCache, direct: Redis) -> None:
    name = key("value")
    await cache.put(name, b"value", float("inf"))
    assert await cache.get(name) == b"value"
    assert await direct.ttl(PREFIX + name) > 24 * 3600
    await cache.put(name, b"value", float("nan"))
    assert await cache.get(name) is None


async def test_a_redis_without_memory_loses_writes_and_answers_reads(
    cache: RedisCache, direct: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    kept, refused = key("kept"), key("refused")
    await cache.put(kept, b"kept", LONG_S)
    await direct.config_set("maxmemory", "1")
    try:
        for _ in range(3):
            await cache.put(refused, b"refused", LONG_S)
        assert await cache.get_many([kept, refused]) == [b"kept", None]
    finally:
        await direct.config_set("maxmemory", "0")
    assert actions(caplog) == ["cache_refuses"]
    await cache.put(refused, b"taken", LONG_S)
    assert await cache.get(refused) == b"taken"


async def test_before_start_and_after_stop_everything_is_a_miss(server: services.Redis, cache: RedisCache) -> None:
    name = key("value")
    await cache.put(name, b"value", LONG_S)
    idle = RedisCache(server.url)
    assert await idle.get(name) is None
    await idle.stop()
    await cache.stop()
    await cache.put(name, b"late", LONG_S)
    assert await cache.get(name) is None


async def test_a_wrong_password_is_an_outage_that_does_not_tell_it(
    server: services.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    cache = RedisCache(server.url.replace("redis://", "redis://:hunter2@"))
    await cache.start()
    assert await cache.get(b"key") is None
    assert len(caplog.records) >= 1
    assert "hunter2" not in " ".join(str(record.__dict__) for record in caplog.records)
    await cache.stop()
