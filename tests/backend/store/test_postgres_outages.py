"""What only a real PostgreSQL can do to us: go away, come back, freeze, refuse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bench.support import services
from bench.support.waiting import until
from roost.backend.store.postgres.schema import search_path
from roost.wire.errors import Misuse, Unavailable
from roost.wire.messages.lock import GatewayPoll, PutPart, RequestState, Verdict
from tests.backend.store.contract_store import BOB, Desk, offer
from tests.backend.store.database import NewStore, clients

pytestmark = pytest.mark.engines


async def comes_back(work: Callable[[], Awaitable[Any]]) -> Any:
    """What it answers, once it does."""
    result: list[Any] = []

    async def is_answered() -> bool:
        try:
            result.append(await work())
        except Unavailable:
            return False
        return True

    await until(is_answered)
    return result[0]


async def test_a_killed_server_is_away_and_what_was_answered_is_there_when_it_is_back(
    server: services.Postgres, url: str, new_store: NewStore
) -> None:
    store = new_store(url)
    await store.start()
    desk = Desk(store)
    grant = await desk.grant(offer())
    await store.put_part(PutPart(grant.job, grant.token, 0, b"part"))
    await store.sweep(GatewayPoll("g1"))
    await asyncio.to_thread(server.kill)
    for work in (
        store.tick,
        lambda: store.sweep(GatewayPoll("g1")),
        lambda: desk.beat(grant),
        lambda: desk.status(BOB),
    ):
        with contextlib.suppress(Unavailable):
            await work()  # may only find out that its connection is gone
        with pytest.raises(Unavailable, match=f"127.0.0.1:{server.port}"):
            await work()
    await asyncio.to_thread(server.start)
    assert await comes_back(lambda: desk.beat(grant)) is Verdict.OK
    assert (await comes_back(lambda: desk.complete(grant))).verdict is Verdict.OK
    for work in (store.tick, lambda: store.sweep(GatewayPoll("g1"))):
        await comes_back(work)


async def test_a_server_that_freezes_is_unavailable_and_goes_on_when_it_thaws(
    server: services.Postgres, url: str, new_store: NewStore
) -> None:
    store = new_store(url)
    await store.start()
    desk = Desk(store)
    grant = await desk.grant(offer())
    server.freeze()
    try:
        waiting = await asyncio.gather(
            *(desk.status(who) for who in clients(5)), desk.beat(grant), store.tick(), return_exceptions=True
        )
    finally:
        server.thaw()
    assert [type(problem) for problem in waiting] == [Unavailable] * 7
    assert await comes_back(lambda: desk.beat(grant)) is Verdict.OK
    assert (await comes_back(lambda: desk.complete(grant))).verdict is Verdict.OK


async def test_connections_that_the_server_ends_are_made_again(
    server: services.Postgres, url: str, new_store: NewStore
) -> None:
    store = new_store(url)
    await store.start()
    desk = Desk(store)
    grant = await desk.grant(offer())
    for _ in range(3):
        server.sql(
            "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'roost'"
        )
        assert (await comes_back(lambda: desk.status(BOB))).state is RequestState.WAITING
        assert await comes_back(lambda: desk.beat(grant)) is Verdict.OK


SLOW_SEARCH = """SET search_path = {path};
CREATE OR REPLACE FUNCTION sweep(swept text, l limits) RETURNS SETOF request_status
LANGUAGE sql AS 'SELECT NULL::request_status FROM pg_sleep(60)'"""


async def test_p26_a_sweep_whose_search_takes_too_long_has_noted_that_its_gateway_lives(
    server: services.Postgres, new_store: NewStore
) -> None:
    """A gateway that comes while others are searched for does not wait for these searches."""
    database = server.database()
    store = new_store(server.url(database))
    await store.start()
    server.sql(database, SLOW_SEARCH.format(path=search_path()))

    async def are_noted(count: int) -> bool:
        return await asyncio.to_thread(server.sql, database, "SELECT count(*) FROM roost.gateways") == str(count)

    first = [asyncio.create_task(store.sweep(GatewayPoll(f"g{number}"))) for number in range(8)]
    await until(lambda: are_noted(8))
    last = asyncio.create_task(store.sweep(GatewayPoll("g8")))
    await until(lambda: are_noted(9))
    assert not all(task.done() for task in first), "each search is given up after 1 s, one after the other"
    swept = await asyncio.gather(*first, last, return_exceptions=True)
    assert [type(problem) for problem in swept] == [Unavailable] * 9


async def test_a_caller_that_goes_away_leaves_nothing_to_the_next(url: str, new_store: NewStore) -> None:
    store = new_store(url)
    await store.start()
    desk = Desk(store)
    grant = await desk.grant(offer())
    for turns in range(12):
        asking = [asyncio.ensure_future(desk.status(who)) for who in clients(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert (await comes_back(lambda: desk.complete(grant))).verdict is Verdict.OK


async def test_a_first_host_that_is_dead_or_silent_is_passed_over(
    server: services.Postgres, new_store: NewStore
) -> None:
    database = server.database()
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # and never listens
        more = [f"127.0.0.1:{place.getsockname()[1]}" for place in (dead, silent)]
        store = new_store(server.url(database, *more))
        await store.start()
        assert (await Desk(store).acquire(offer())).grants


async def test_a_host_that_takes_no_writes_is_passed_over(server: services.Postgres, new_store: NewStore) -> None:
    database = server.database()
    server.sql(database, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with pytest.raises(Unavailable):
        await new_store(server.url(database)).start()


async def test_nobody_hears_the_password(
    server: services.Postgres, caplog: pytest.LogCaptureFixture, new_store: NewStore
) -> None:
    caplog.set_level(logging.DEBUG)
    right = server.url(server.database())
    for wrong in (
        right.replace("private", "hunter2"),
        right.replace("private", "hunter2").replace(str(server.port), "1"),
        right.replace("private", "hunter2") + "?sslmode=hunter",
        right.replace("private", "hunter2") + "nowhere",
        right.replace("private", "hun:ter2"),
        right.replace(":private", "") + "?password=hunter2",
    ):
        store = new_store(wrong)
        with pytest.raises((Unavailable, Misuse)) as problem:
            await store.start()
        assert "hunter2" not in str(problem.value)
        assert "ter2" not in repr(store)
    assert "hunter2" not in " ".join(str(record.__dict__) for record in caplog.records)


async def test_p30_what_is_committed_is_on_disk_even_when_the_server_would_not_care(
    server: services.Postgres, new_store: NewStore
) -> None:
    database = server.database()
    server.sql(database, f"ALTER DATABASE {database} SET synchronous_commit = off")
    store = new_store(server.url(database))
    await store.start()
    (settings,) = await store._decisions.fetch("SELECT current_setting('synchronous_commit')")
    assert settings[0] == "on"


async def test_stopping_twice_is_fine_and_a_stopped_store_is_unavailable(url: str, new_store: NewStore) -> None:
    store = new_store(url)
    await store.start()
    await store.stop()
    await store.stop()
    with pytest.raises(Unavailable):
        await store.tick()
    await store.start()
    await store.tick()
    await store.stop()
