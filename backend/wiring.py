"""The only chooser of engines, from URLs, and how the parts of the backend are put together.

============  ==================  ============================
what          embedded            real
============  ==================  ============================
``broker``    ``memory:``         ``amqp://…``
``cache``     ``memory:``         ``redis://…``
``store``     ``sqlite:PATH``     ``postgresql://…``
============  ==================  ============================

Embedded broker and cache live in one process: parts that are to share them are made from one `Engines`.
"""

from __future__ import annotations

from dataclasses import dataclass

from backend.broker.memory import MemoryBroker
from backend.broker.port import Broker
from backend.cache.memory import MemoryCache
from backend.cache.port import Cache
from backend.store.port import Store, StoreLimits
from backend.store.sqlite import SqliteStore
from wire.clock import SYSTEM_CLOCK, Clock
from wire.errors import Misuse

IN_MEMORY = "memory:"


@dataclass(frozen=True, slots=True)
class EngineUrls:
    """Which engines to use."""

    broker: str = IN_MEMORY
    cache: str = IN_MEMORY
    store: str = "sqlite::memory:"


class Engines:
    """Engines by URL. Raises Misuse for a URL that names none, with the ones there are."""

    def __init__(self, urls: EngineUrls, limits: StoreLimits, clock: Clock = SYSTEM_CLOCK) -> None:
        self._limits, self._clock = limits, clock
        if urls.broker != IN_MEMORY:
            raise _unknown("broker", urls.broker, IN_MEMORY)
        if urls.cache != IN_MEMORY:
            raise _unknown("cache", urls.cache, IN_MEMORY)
        scheme, _, path = urls.store.partition(":")
        if scheme != "sqlite" or not path:
            raise _unknown("store", urls.store, "sqlite:PATH, sqlite::memory:")
        self._store_path = path
        self._memory_broker = MemoryBroker(clock)
        self._cache = MemoryCache(clock=clock)

    def broker(self) -> Broker:
        """A connection of its own for one part."""
        return self._memory_broker.connect()

    def cache(self) -> Cache:
        """The cache that the parts share."""
        return self._cache

    def store(self) -> Store:
        """A store for one lock server."""
        return SqliteStore(self._store_path, self._limits, self._clock)


def _unknown(what: str, url: str, known: str) -> Misuse:
    shown = url.split("://")[0]
    return Misuse(f"no engine for {what} URL {shown!r}: this version knows {known}")
