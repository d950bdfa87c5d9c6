"""What every cache engine promises, as tests.

A test module of an engine subclasses `CacheContract` and provides the fixture `engine`: something with `connect()`,
which gives an unstarted cache over one and the same content. A cache may forget at any time, so keeping a few small
values for a moment is the only thing beyond the port that these tests expect of an undisturbed one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol
from uuid import uuid4

import pytest

from bench.support.waiting import until
from roost.backend.cache.port import Cache

LONG_S = 600.0


class CacheEngine(Protocol):
    """What an engine's test module has to provide."""

    def connect(self) -> Cache:
        """A cache, not started, over the same content as the last."""


def key(word: str) -> bytes:
    """A key that no other test uses."""
    return f"test:{uuid4().hex}:{word}".encode()


class CacheContract:
    """Every promise of `roost.backend.cache.port`."""

    @pytest.fixture
    async def cache(self, engine: CacheEngine) -> AsyncIterator[Cache]:
        cache = engine.connect()
        await cache.start()
        yield cache
        await cache.stop()
        await cache.stop()

    async def test_a_value_comes_back_as_it_was(self, cache: Cache) -> None:
        for value in (b"", b"\x00\xff\r\n$-1\r\n", bytes(range(256)) * 1024):
            name = key("value")
            await cache.put(name, value, LONG_S)
            assert await cache.get(name) == value

    async def test_any_bytes_can_be_a_key(self, cache: Cache) -> None:
        mark = uuid4().bytes
        names = [mark, mark + b"\x00", mark + b"\xff\xfe", mark + b" \r\n*{}?", mark + b"k" * 1000]
        for number, name in enumerate(names):
            await cache.put(name, b"%d" % number, LONG_S)
        assert await cache.get_many(names) == [b"0", b"1", b"2", b"3", b"4"]

    async def test_an_unknown_key_is_a_miss(self, cache: Cache) -> None:
        assert await cache.get(key("nothing")) is None

    async def test_many_keys_answer_in_order(self, cache: Cache) -> None:
        first, second, nothing = key("first"), key("second"), key("nothing")
        await cache.put(first, b"1", LONG_S)
        await cache.put(second, b"2", LONG_S)
        assert await cache.get_many([second, nothing, first, second]) == [b"2", None, b"1", b"2"]
        assert await cache.get_many([]) == []

    async def test_putting_again_replaces(self, cache: Cache) -> None:
        name = key("value")
        await cache.put(name, b"old", LONG_S)
        await cache.put(name, b"new", LONG_S)
        assert await cache.get(name) == b"new"

    async def test_a_swap_is_made_only_if_the_key_has_what_was_expected(self, cache: Cache) -> None:
        name = key("value")
        assert await cache.swap(name, b"old", b"new", LONG_S) is None
        assert await cache.get(name) is None
        assert await cache.swap(name, None, b"first", LONG_S) == b"first"
        assert await cache.swap(name, None, b"second", LONG_S) == b"first"
        assert await cache.swap(name, b"second", b"third", LONG_S) == b"first"
        assert await cache.swap(name, b"first", b"", LONG_S) == b""
        assert await cache.swap(name, None, b"fourth", LONG_S) == b"", "an empty value is a value"
        assert await cache.swap(name, b"", b"\x00\r\n", LONG_S) == await cache.get(name) == b"\x00\r\n"

    async def test_a_swapped_value_lives_no_longer_than_it_may(self, cache: Cache) -> None:
        name = key("value")
        assert await cache.swap(name, None, b"short", 0.2) == b"short"
        await until(lambda: self._is_missing(cache, name))
        assert await cache.swap(name, None, b"next", LONG_S) == b"next"

    async def test_of_many_swaps_from_one_value_one_is_made(self, engine: CacheEngine, cache: Cache) -> None:
        other, name = engine.connect(), key("value")
        await other.start()
        values = [b"%d" % number for number in range(40)]
        swaps = ((cache, other)[number % 2].swap(name, None, value, LONG_S) for number, value in enumerate(values))
        found = await asyncio.gather(*swaps)
        await other.stop()
        made = [value for value, had in zip(values, found, strict=True) if value == had]
        assert len(made) <= 1
        (kept,) = {*found} - {None}  # None: an engine on a busy machine gave no answer in time
        await until(lambda: self._has(cache, name, kept))

    async def test_dropped_is_gone_and_dropping_nothing_is_fine(self, cache: Cache) -> None:
        name = key("value")
        await cache.put(name, b"kept", LONG_S)
        await cache.drop(name)
        await cache.drop(name)
        assert await cache.get(name) is None

    async def test_a_value_lives_no_longer_than_it_may(self, cache: Cache) -> None:
        short, long = key("short"), key("long")
        await cache.put(short, b"short", 0.2)
        await cache.put(long, b"long", LONG_S)
        await until(lambda: self._is_missing(cache, short))
        assert await cache.get(long) == b"long"

    @pytest.mark.parametrize("ttl_s", [0.0, -1.0])
    async def test_a_value_that_may_not_live_is_not_kept_and_nor_is_the_one_before(
        self, cache: Cache, ttl_s: float
    ) -> None:
        name = key("value")
        await cache.put(name, b"old", LONG_S)
        await cache.put(name, b"new", ttl_s)
        assert await cache.get(name) is None

    async def test_fractions_of_a_second_count(self, cache: Cache) -> None:
        name = key("value")
        await cache.put(name, b"brief", 0.0004)
        await until(lambda: self._is_missing(cache, name))

    async def test_everybody_sees_the_same_content(self, engine: CacheEngine, cache: Cache) -> None:
        other, name = engine.connect(), key("value")
        await other.start()
        await other.put(name, b"shared", LONG_S)
        await other.stop()
        assert await cache.get(name) == b"shared"

    async def test_side_by_side_nobody_gets_anothers_value(self, cache: Cache) -> None:
        names = [key(str(number)) for number in range(50)]
        await asyncio.gather(*(cache.put(name, name[::-1], LONG_S) for name in names))
        lots = await asyncio.gather(*(cache.get_many([name, names[0]]) for name in names))
        assert lots == [[name[::-1], names[0][::-1]] for name in names]

    @staticmethod
    async def _is_missing(cache: Cache, name: bytes) -> bool:
        return await cache.get(name) is None

    @staticmethod
    async def _has(cache: Cache, name: bytes, value: bytes | None) -> bool:
        return await cache.get(name) == value
