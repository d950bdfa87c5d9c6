"""Choose the broker, cache and store by URL. This is the only module that knows which engines exist.

============  ==================  ============================
what          embedded            external
============  ==================  ============================
``broker``    ``memory:``         ``amqp://…``, ``amqps://…``
``cache``     ``memory:``         ``redis://…``, ``rediss://…``, ``redis+sentinel://…``
``store``     ``sqlite:PATH``     ``postgresql://…``, ``postgres://…``
============  ==================  ============================

The embedded broker and cache live inside one process: services that share them must be built from the same `Engines`.
With the external engines each service gets its own connections. A cluster is written as one URL with several hosts
(`roost.backend.host_lists`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from roost.backend.broker.memory.memory_broker import MemoryBroker
from roost.backend.broker.port import Broker
from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.cache.port import Cache
from roost.backend.host_lists import each_host, names_hosts
from roost.backend.store.administration import Administration
from roost.backend.store.port import Store, StoreLimits
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.errors import Misuse

IN_MEMORY = "memory:"
BROKERS, CACHES, SENTINELS = ("amqp", "amqps"), ("redis", "rediss"), ("redis+sentinel",)
STORES = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class EngineUrls:
    """The URLs of the engines to use."""

    broker: str = IN_MEMORY
    cache: str = IN_MEMORY
    store: str = "sqlite::memory:"


class Engines:
    """Makes brokers, caches and stores for the given URLs.

    Raises Misuse for a URL that names no known engine; the message lists the known forms.
    """

    def __init__(self, urls: EngineUrls, limits: StoreLimits, clock: Clock = SYSTEM_CLOCK) -> None:
        self._limits, self._clock = limits, clock
        self._new_broker = self._broker_maker(urls.broker)
        self._new_cache = self._cache_maker(urls.cache)
        self._new_store = self._store_maker(urls.store)

    def broker(self) -> Broker:
        """Return a new broker connection for one service."""
        return self._new_broker()

    def cache(self) -> Cache:
        """Return a cache for one service; all services see the same content."""
        return self._new_cache()

    def store(self) -> Store:
        """Return a store for one lock server."""
        return self._new_store()

    def _broker_maker(self, url: str) -> Callable[[], Broker]:
        if url == IN_MEMORY:
            return MemoryBroker(self._clock).connect
        if not names_hosts(url, BROKERS):
            raise _unknown("broker", url, "memory:, amqp://USER:PASSWORD@HOST:PORT,HOST:PORT/VHOST")
        # imported here because its driver takes a while to import
        from roost.backend.broker.rabbitmq.rabbitmq_broker import RabbitBroker

        return lambda: RabbitBroker(url, self._clock)

    def _cache_maker(self, url: str) -> Callable[[], Cache]:
        if url == IN_MEMORY:
            shared = MemoryCache(clock=self._clock)
            return lambda: shared
        is_one = names_hosts(url, CACHES) and len(each_host(url)) == 1
        if not is_one and not names_hosts(url, SENTINELS):
            raise _unknown("cache", url, "memory:, redis://HOST:PORT/NUMBER, redis+sentinel://HOST,HOST/SERVICE/NUMBER")
        from roost.backend.cache.redis_cache import RedisCache

        RedisCache(url, self._clock)  # raises Misuse now for other mistakes in the URL
        return lambda: RedisCache(url, self._clock)

    def _store_maker(self, url: str) -> Callable[[], Store]:
        scheme, _, path = url.partition(":")
        if scheme == "sqlite" and path:
            return lambda: SqliteStore(path, self._limits, self._clock)
        if not names_hosts(url, STORES):
            raise _unknown(
                "store", url, "sqlite:PATH, sqlite::memory:, postgresql://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE"
            )
        from roost.backend.store.postgres.postgres_store import PostgresStore

        return lambda: PostgresStore(url, self._limits)


def administration(url: str, limits: StoreLimits, clock: Clock = SYSTEM_CLOCK) -> Administration:
    """Return what operates on the store at `url`. Raises Misuse for a URL that names no store that lasts."""
    scheme, _, path = url.partition(":")
    if scheme == "sqlite" and path and path != ":memory:":
        from roost.backend.store.sqlite.administration import SqliteAdministration

        return SqliteAdministration(path, limits, clock)
    if not names_hosts(url, STORES):
        raise _unknown("store", url, "sqlite:PATH, postgresql://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE")
    from roost.backend.store.postgres.administration import PostgresAdministration

    return PostgresAdministration(url, limits, clock)


def _unknown(what: str, url: str, known: str) -> Misuse:
    shown = url.partition(":")[0]
    return Misuse(f"no engine for {what} URL {shown!r}: this version knows {known}")
