"""Engines by URL, and who shares what."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.support import services
from roost.backend.broker.port import QueueSpec
from roost.backend.engines import Engines, EngineUrls
from roost.backend.store.port import StoreLimits
from roost.wire.errors import Misuse
from roost.wire.messages.lock import Attach, CancelRequest, RequestState, Statuses


def engines(**urls: str) -> Engines:
    return Engines(EngineUrls(**urls), StoreLimits())


@pytest.mark.parametrize(
    ("what", "url"),
    [
        ("broker", "memory"),
        ("broker", "kafka://secret:password@host"),
        ("broker", ""),
        ("broker", "amqp://user:password@"),
        ("broker", "amqp://user:password@host:port/"),
        ("broker", "redis://user:password@host"),
        ("broker", "amqp://user:password@one,two:port/"),
        ("broker", "amqp://user:password@one,,two/"),
        ("cache", "disk:"),
        ("cache", "redis://:password@one:1,two:2/0"),
        ("cache", "redis+sentinel://:password@one,two:port/roost/0"),
        ("cache", "redis+sentinel://:password@one,two/roost/zero"),
        ("cache", "redis+sentinel://:password@one,two/roost/0?password=other"),
        ("cache", "redis://:password@/0"),
        ("cache", "redis://:password@host:99999/0"),
        ("store", "sqlite:"),
        ("store", "sqlite"),
        ("store", "mysql://secret:password@host/db"),
        ("store", "postgresql:secret:password"),
        ("store", "postgresql://user:password@/db"),
        ("store", "postgresql://user:password@one,two:port/db"),
    ],
)
def test_a_url_that_names_no_engine_is_refused_without_repeating_its_password(what: str, url: str) -> None:
    with pytest.raises(Misuse, match=what) as refusal:
        engines(**{what: url})
    assert "password" not in str(refusal.value)


async def test_parts_of_one_process_share_its_broker_and_cache() -> None:
    both = engines()
    first, second = both.broker(), both.broker()
    assert first is not second
    for broker in (first, second):
        await broker.start()
    await first.declare(QueueSpec("q"))
    await first.publish("q", b"hello")
    assert await second.depth("q") == 1
    await first.stop()
    assert await second.depth("q") == 1
    await second.stop()
    await both.cache().put(b"key", b"value", 10.0)
    assert await both.cache().get(b"key") == b"value"
    assert await engines().cache().get(b"key") is None


@pytest.mark.engines
async def test_parts_of_several_processes_share_the_broker_and_the_cache_that_the_urls_name() -> None:
    urls = {"broker": services.rabbitmq().url, "cache": services.redis().url}
    here, there = engines(**urls), engines(**urls)
    spec = QueueSpec("test.wiring", expires_s=60.0)
    first, second, kept, seen = here.broker(), there.broker(), here.cache(), there.cache()
    for engine in (first, second, kept, seen):
        await engine.start()
    await first.declare(spec)
    await first.publish(spec.name, b"hello")
    assert await second.depth(spec.name) == 1
    await kept.put(b"test.wiring", b"value", 10.0)
    assert await seen.get(b"test.wiring") == b"value"
    assert here.cache() is not kept, "whoever stops its own leaves others theirs"
    for engine in (first, second, kept, seen):
        await engine.stop()


async def test_the_store_is_the_file_that_the_url_names(tmp_path: Path) -> None:
    store = engines(store=f"sqlite:{tmp_path}/with space:and colon.db").store()
    await store.start()
    await store.stop()
    assert (tmp_path / "with space:and colon.db").exists()


@pytest.mark.engines
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_lock_servers_of_several_processes_share_the_database_that_the_url_names(scheme: str) -> None:
    server = services.postgres()
    url = server.url(server.database()).replace("postgresql", scheme)
    first, second = engines(store=url).store(), engines(store=url).store()
    await first.start()
    await second.start()
    await first.decide([CancelRequest(b"client", "r1")])
    (status,) = await second.decide([Attach(b"client", 1, "g1", ["r1"])])
    assert isinstance(status, Statuses)
    assert status.requests[0].state is RequestState.ENDED
    await first.stop()
    await second.stop()
