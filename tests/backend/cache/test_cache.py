"""The cache's contract over every engine, and what the embedded one keeps and lets go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.support import services
from roost.backend.cache.lru import ENTRY_BYTES, Lru
from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.cache.port import Cache
from roost.backend.cache.redis_cache import RedisCache
from tests.backend.cache.contract_cache import CacheContract, CacheEngine
from tests.clock import ManualClock


class MemoryEngine:
    """Every part of a process holds the same cache."""

    def __init__(self) -> None:
        self._cache = MemoryCache()

    def connect(self) -> Cache:
        return self._cache


class RedisEngine:
    """Connections to the Redis of this test run."""

    def __init__(self) -> None:
        self._url = services.redis().url

    def connect(self) -> Cache:
        return RedisCache(self._url)


@pytest.fixture(
    params=[
        pytest.param(MemoryEngine, id="memory"),
        pytest.param(RedisEngine, id="redis", marks=pytest.mark.engines),
    ]
)
async def engine(request: pytest.FixtureRequest) -> CacheEngine:
    made: CacheEngine = request.param()
    return made


class TestContract(CacheContract):
    """Every engine keeps the promises of the port."""


async def test_a_value_dies_at_its_time_and_not_before() -> None:
    clock = ManualClock()
    cache = MemoryCache(clock=clock)
    await cache.put(b"key", b"value", 10.0)
    await clock.advance(9.999)
    assert await cache.get(b"key") == b"value"
    await clock.advance(0.001)
    assert await cache.get(b"key") is None
    assert await cache.get_many([b"key"]) == [None]


async def test_one_huge_value_does_not_push_out_the_others() -> None:
    cache = MemoryCache(max_bytes=80_000)
    await cache.put(b"small", b"kept", 60.0)
    await cache.put(b"huge", bytes(10_000), 60.0)
    assert await cache.get(b"huge") is None
    assert await cache.get(b"small") == b"kept"


def test_a_value_too_big_to_keep_still_replaces_the_one_before() -> None:
    kept = Lru(10_000, 1_000)
    kept.put(b"key", b"old", 60.0, 0.0)
    kept.put(b"key", bytes(1_000), 60.0, 0.0)
    assert kept.get(b"key", 0.0) is None


def test_the_least_recently_used_goes_first() -> None:
    kept = Lru(3 * (2 + ENTRY_BYTES), 1_000)
    for key in (b"a", b"b", b"c"):
        kept.put(key, b"x", 60.0, 0.0)
    kept.get(b"a", 1.0)
    kept.put(b"d", b"x", 60.0, 1.0)
    assert [kept.get(key, 1.0) for key in (b"a", b"b", b"c", b"d")] == [b"x", None, b"x", b"x"]


def test_an_endless_time_is_one() -> None:
    kept = Lru(10_000, 1_000)
    kept.put(b"key", b"value", float("inf"), 0.0)
    kept.put(b"nan", b"value", float("nan"), 0.0)
    assert (kept.get(b"key", 1e12), kept.get(b"nan", 0.0)) == (b"value", None)


KEYS = st.sampled_from([b"a", b"bb", b"ccc", b"dddd"])
STEP = st.one_of(
    st.tuples(st.just("put"), KEYS, st.binary(max_size=600), st.sampled_from([0.0, 5.0, 20.0])),
    st.tuples(st.sampled_from(["get", "drop"]), KEYS, st.just(b""), st.just(0.0)),
)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 6.0]), STEP), max_size=60))
def test_it_never_tells_a_lie_nor_outgrows_its_bound(
    steps: list[tuple[float, tuple[str, bytes, bytes, float]]],
) -> None:
    kept, truth, now = Lru(1_500, 800), dict[bytes, tuple[float, bytes]](), 0.0
    for passed_s, (what, key, value, ttl_s) in steps:
        now += passed_s
        if what == "put":
            kept.put(key, value, ttl_s, now)
            truth[key] = (now + ttl_s, value)
            if ttl_s > 0 and len(key) + len(value) + ENTRY_BYTES <= 800:
                assert kept.get(key, now) == value, "what was put last is there, whatever it pushed out"
        elif what == "drop":
            kept.drop(key)
            truth.pop(key, None)
        found = kept.get(key, now)
        dies_at, last = truth.get(key, (now, b""))
        assert found is None or (found == last and now < dies_at)
        assert 0 <= kept.used_bytes <= 1_500
    for key in (b"a", b"bb", b"ccc", b"dddd"):
        kept.drop(key)
    assert (kept.used_bytes, len(kept)) == (0, 0)
