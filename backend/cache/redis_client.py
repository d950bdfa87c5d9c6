"""Connections to Redis by URL: to one server, or to whichever the sentinels say is master at the time.

``redis://user:password@host:port/number`` is one server, ``rediss:`` the same over TLS. With
``redis+sentinel://user:password@one:26379,two:26379/service/number`` the hosts are sentinels, user and password are the
servers', and `service` is what the sentinels call them (``mymaster``). Sentinels that want a password of their own have
it behind the URL: ``?sentinel_password=…``, and ``&sentinel_username=…`` with it.
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
"""What a sentinel calls the servers unless it was told otherwise."""


class Client:
    """Redis, whoever it is at the moment. Raises Misuse for a URL that is none; connects when it is asked something."""

    def __init__(self, url: str, answer_s: float) -> None:
        patience = {
            "protocol": 2,
            "socket_timeout": answer_s,
            "socket_connect_timeout": answer_s,
            "retry": Retry(NoBackoff(), 0),
            "client_name": "roost",
        }
        self._sentinel: Sentinel | None = None
        if url.startswith(f"{SENTINEL_SCHEME}:"):
            self._sentinel, self.redis = _by_sentinel(url, patience)
        else:
            self.redis = _direct(url, patience)

    async def close(self) -> None:
        """Disconnect from everybody."""
        await self.redis.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()


def _direct(url: str, patience: Mapping[str, Any]) -> Redis:
    try:
        return Redis.from_url(url, **patience)
    except ValueError:
        raise Misuse("the cache's URL is not of the form redis://HOST:PORT/NUMBER") from None


def _by_sentinel(url: str, patience: Mapping[str, Any]) -> tuple[Sentinel, Redis]:
    parts = [urlsplit(single) for single in each_host(url)]
    first = parts[0]
    service, _, number = first.path.strip("/").partition("/")
    query = parse_qs(first.query)
    if (number and not number.isdecimal()) or not query.keys() <= {"sentinel_username", "sentinel_password"}:
        raise Misuse("the cache's URL is not of the form redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/NUMBER")
    own = {name.removeprefix("sentinel_"): values[-1] for name, values in query.items()}
    hosts = [(part.hostname, part.port or SENTINEL_PORT) for part in parts]
    sentinel = Sentinel(hosts, sentinel_kwargs={**patience, **own}, **patience)  # type: ignore[no-untyped-call]
    redis: Redis = sentinel.master_for(
        unquote(service) or SERVICE,
        db=int(number or 0),
        username=unquote(first.username) if first.username else None,
        password=unquote(first.password) if first.password else None,
    )
    return sentinel, redis
