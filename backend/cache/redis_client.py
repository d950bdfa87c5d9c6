"""Connections to Redis by URL: to one server, or to the server that the sentinels name as the current master.

``redis://user:password@host:port/number`` is one server, ``rediss:`` the same over TLS. With
``redis+sentinel://user:password@one:26379,two:26379/service/number`` the hosts are sentinels, user and password are
those of the Redis servers, and `service` is the name that the sentinels use for them (``mymaster``). Sentinels with a
password of their own get it as a query: ``?sentinel_password=…``, with ``&sentinel_username=…`` if needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from roost.backend.host_lists import each_host
from roost.wire.errors import Misuse

SENTINEL_SCHEME = "redis+sentinel"
SENTINEL_PORT = 26379
SERVICE = "mymaster"
"""The default service name of Redis Sentinel."""


class Client:
    """A Redis client that always talks to the current master. It connects on the first command.

    `answer_s` is the timeout of connecting and of a command. Raises Misuse for an invalid URL.
    """

    def __init__(self, url: str, answer_s: float) -> None:
        options = {
            "protocol": 2,
            "socket_timeout": answer_s,
            "socket_connect_timeout": answer_s,
            "retry": Retry(NoBackoff(), 0),
            "client_name": "roost",
        }
        self._sentinel: Sentinel | None = None
        if url.startswith(f"{SENTINEL_SCHEME}:"):
            self._sentinel, self.redis = _by_sentinel(url, options)
        else:
            self.redis = _direct(url, options)

    async def close(self) -> None:
        """Close the connections to Redis and to the sentinels."""
        await self.redis.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()


def _direct(url: str, options: Mapping[str, Any]) -> Redis:
    try:
        return Redis.from_url(url, **options)
    except ValueError:
        raise Misuse("the cache's URL is not of the form redis://HOST:PORT/NUMBER") from None


def _by_sentinel(url: str, options: Mapping[str, Any]) -> tuple[Sentinel, Redis]:
    parts = [urlsplit(single) for single in each_host(url)]
    first = parts[0]
    service, _, number = first.path.strip("/").partition("/")
    query = parse_qs(first.query)
    if (number and not number.isdecimal()) or not query.keys() <= {"sentinel_username", "sentinel_password"}:
        raise Misuse("the cache's URL is not of the form redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/NUMBER")
    own = {name.removeprefix("sentinel_"): values[-1] for name, values in query.items()}
    hosts = [(part.hostname, part.port or SENTINEL_PORT) for part in parts]
    sentinel = Sentinel(hosts, sentinel_kwargs={**options, **own}, **options)  # type: ignore[no-untyped-call]
    redis: Redis = sentinel.master_for(
        unquote(service) or SERVICE,
        db=int(number or 0),
        username=unquote(first.username) if first.username else None,
        password=unquote(first.password) if first.password else None,
    )
    return sentinel, redis
