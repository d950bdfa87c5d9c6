"""A worker's hosts by themselves: renewals of leases, by a clock that the test moves."""

from __future__ import annotations

import asyncio
import logging

import pytest

from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.cache.port import Cache
from roost.backend.kinds.crawl.politeness.host_coordinator import HostCoordinator
from roost.backend.kinds.crawl.politeness.host_lease import LEASE_S, RENEW_S, SURE_S
from roost.backend.kinds.crawl.politeness.host_limits import TICK_S, HostLimits
from tests.clock import ManualClock
from tests.kinds.crawl.politeness.caches import NoCache

URL = "http://one.example/"


class FailingCache(MemoryCache):
    """Swaps fail in a way that the port forbids, while `is_failing`."""

    is_failing = False

    async def swap(self, key: bytes, old: bytes | None, new: bytes, ttl_s: float) -> bytes | None:
        if self.is_failing:
            raise RuntimeError("not an outage")
        return await super().swap(key, old, new, ttl_s)


def make(cache: Cache, clock: ManualClock, name: bytes = b"a", at_once: int = 8) -> tuple[HostLimits, HostCoordinator]:
    turns = HostCoordinator(cache, clock, name)
    return HostLimits(turns, clock, at_once), turns


async def test_p32_a_long_request_to_a_host_that_was_idle_is_not_cut_off_while_the_cache_is_away() -> None:
    clock = ManualClock()
    hosts, turns = make(NoCache(), clock)
    turns._contact.unanswered(clock.monotonic() - SURE_S)
    async with hosts.visit(URL, 0):
        pass
    await clock.advance(2 * RENEW_S)
    assert not hosts._active, "it is idle, and its lease is not renewed"
    async with hosts.visit(URL, 0):
        (host,) = hosts._active.values()
        for _ in range(int(3 * LEASE_S / TICK_S)):
            await clock.advance(TICK_S)
            assert clock.monotonic() < host.lease.until
    await hosts.stop()


@pytest.mark.parametrize("workers", [2, 3, 5])
async def test_where_workers_are_more_than_places_each_gives_its_place_back_with_the_end_of_its_request(
    workers: int,
) -> None:
    clock, cache = ManualClock(), MemoryCache()
    crowd = [make(cache, clock, b"%d" % number, at_once=workers - 1)[0] for number in range(workers)]
    for _ in range(3):
        for hosts in crowd:  # time stands still, so nobody's place is over by itself
            async with hosts.visit(URL, 0):
                pass
    await asyncio.gather(*(hosts.stop() for hosts in crowd))


async def test_one_renewal_that_fails_is_logged_and_leases_are_renewed_further(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, cache = ManualClock(), FailingCache()
    hosts, _ = make(cache, clock)
    async with hosts.visit(URL, 0):
        (host,) = hosts._active.values()
        with caplog.at_level(logging.ERROR):
            cache.is_failing = True
            await clock.advance(RENEW_S + TICK_S)
        assert "lease not renewed" in caplog.messages
        cache.is_failing = False
        await clock.advance(LEASE_S)
        assert clock.monotonic() < host.lease.until
    await hosts.stop()


async def test_whoever_fails_to_get_a_lease_leaves_no_place_taken() -> None:
    clock, cache = ManualClock(), FailingCache()
    hosts, _ = make(cache, clock)
    cache.is_failing = True
    for _ in range(9):
        with pytest.raises(RuntimeError):
            async with hosts.visit(URL, 0):
                pass
    cache.is_failing = False
    async with hosts.visit(URL, 0):
        (host,) = hosts._active.values()
        assert host.use()[0] == 1
        assert not host._waiting
    await asyncio.wait_for(hosts.stop(), 5)
