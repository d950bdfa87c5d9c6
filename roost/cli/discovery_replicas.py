"""Sends operators' requests to every replica of discovery, because replicas share nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from roost.client.route import checked_url, reason
from roost.wire.codec import to_json
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput

ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One replica's reply: `body` is its answer with status 200, otherwise `problem` says why there is none."""

    url: str
    body: dict[str, Any] | None = None
    problem: str = ""


class Replicas:
    """All replicas of one system's discovery. Raises BadInput for URLs that are not http or https."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [checked_url(url) for url in urls]
        if not self._urls or any(url.scheme not in ("http", "https") for url in self._urls):
            raise BadInput(ErrorCode.BAD_URL, "name the URL of discovery: --server http://HOST:PORT")

    async def components(self) -> list[Reply]:
        """The live components, as each replica knows them."""
        return await self._ask_all("GET", "v1/components", {}, None)

    async def order(self, path: str, token: Mapping[str, str], body: dict[str, Any] | None = None) -> list[Reply]:
        """Send an order to all replicas. `token` has the headers with the admin token."""
        return await self._ask_all("POST", path, token, to_json(body or {}))

    async def _ask_all(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> list[Reply]:
        async with aiohttp.ClientSession(headers=headers, trust_env=False) as http:
            return await asyncio.gather(*(_ask(http, method, url, path, body) for url in self._urls))


async def _ask(http: aiohttp.ClientSession, method: str, url: URL, path: str, body: bytes | None) -> Reply:
    where = str(url).rstrip("/")
    try:
        timeout = aiohttp.ClientTimeout(total=ASK_S)
        async with http.request(method, url / path, data=body, timeout=timeout) as response:
            said = msgspec.json.decode(await response.read(), type=dict[str, Any])
            if response.status == 200:
                return Reply(where, said)
            return Reply(where, problem=str(said.get("message", f"it answered {response.status}")))
    except msgspec.DecodeError:
        return Reply(where, problem="it does not answer like Roost's discovery")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
        return Reply(where, problem=f"cannot be reached: {reason(problem)}")
